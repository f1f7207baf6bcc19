# A Rack application that answers at once, waits, or computes.
run(proc do |env|
  case env["PATH_INFO"]
  when "/sleep" then sleep 0.1
  when "/spin"
    sum = 0
    20_000.times { |number| sum += number }
  end
  [200, { "Content-Type" => "text/plain", "Content-Length" => "6" }, ["hello\n"]]
end)
