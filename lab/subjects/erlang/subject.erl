%% The subject Erlang: BENCH key=value..., as lab/subjects/README.md says. run.sh starts it.
%%
%% Erlang has no join, no channel and no mutex. What stands here for them is what one would write: a monitor and its 'DOWN',
%% a process that keeps a queue of 1,024, a process that owns the counter. The last two say so in a note.
-module(subject).
-export([main/0]).

%% A bench has exactly its keys: one that went on with a default would print a number that nobody asked for.
benches() ->
    #{"spawn_join" => ["workers", "count"],
      "spawn_many" => ["workers", "count"],
      "yield" => ["workers", "count"],
      "pingpong" => ["workers", "count"],
      "ring" => ["workers", "tasks", "count"],
      "mpmc" => ["workers", "count"],
      "mutex" => ["workers", "count"],
      "skynet" => ["workers", "leaves"],
      "memory_recv" => ["workers", "tasks"],
      "memory_sleep" => ["workers", "tasks"],
      "timers" => ["workers", "tasks"],
      "multicore" => ["workers", "count"],
      "hog" => ["workers", "hogs", "secs", "late"],
      "echo" => ["workers"],
      "http" => ["workers"]}.

main() ->
    {Bench, Args} = parse(init:get_plain_arguments()),
    %% One process runs the bench. Its mailbox may hold a million 'DOWN's, so it lies off heap, where no collection copies
    %% it.
    {_, Ref} = spawn_opt(fun() -> bench(Bench, Args) end,
                         [monitor, {message_queue_data, off_heap}]),
    receive
        {'DOWN', Ref, _, _, normal} -> halt(0);
        {'DOWN', Ref, _, _, Why} -> stop(1, "~0p", [Why])
    end.

stop(Status, Format, Values) ->
    io:format(standard_error, Format ++ "~n", Values),
    halt(Status).

parse([]) -> stop(2, "which bench? BENCH key=value...", []);
parse([Bench | Rest]) ->
    case benches() of
        #{Bench := Keys} ->
            Args = maps:from_list([argument(Bench, Keys, Argument) || Argument <- Rest]),
            [stop(2, "~ts needs ~ts=...", [Bench, Key]) || Key <- Keys, not is_map_key(Key, Args)],
            {Bench, Args};
        #{} -> stop(2, "no bench is called ~ts", [Bench])
    end.

argument(Bench, Keys, Argument) ->
    case string:split(Argument, "=") of
        [Key, Text] ->
            lists:member(Key, Keys) orelse
                stop(2, "~ts has no key ~ts: it has ~ts", [Bench, Key, lists:join(", ", Keys)]),
            case value(Key, Text) of
                {ok, Value} -> {Key, Value};
                {wrong, Wanted} -> stop(2, "~ts=~ts: ~ts is ~ts", [Key, Text, Key, Wanted])
            end;
        _ -> stop(2, "not key=value: ~ts", [Argument])
    end.

value("late", "") -> {wrong, "a path"};
value("late", Path) -> {ok, Path};
value("secs", Text) ->
    case string:to_float(case lists:member($., Text) of true -> Text; false -> Text ++ ".0" end) of
        {Secs, ""} when Secs > 0, Secs < 1.0e6 -> {ok, Secs};
        _ -> {wrong, "seconds"}
    end;
value(Key, Text) ->
    case string:to_integer(Text) of
        {N, ""} when N >= 0, Key =:= "hogs" -> {ok, N};
        {N, ""} when N > 0, Key =/= "leaves" -> {ok, N};
        {N, ""} when N > 0 ->
            case power_of_ten(N) of
                true -> {ok, N};
                false -> {wrong, "a power of ten, as each inner task has ten children"}
            end;
        _ -> {wrong, "a number above zero"}
    end.

power_of_ten(1) -> true;
power_of_ten(N) -> N rem 10 =:= 0 andalso power_of_ten(N div 10).

bench("spawn_join", #{"count" := N}) -> each(fun spawn_join/1, N);
bench("spawn_many", #{"count" := N}) -> each(fun(K) -> all(K, fun(_) -> ok end) end, N);
bench("yield", #{"count" := N}) -> each(fun(K) -> all(2, fun(I) -> yields(share(K, 2, I)) end) end, N);
bench("pingpong", #{"count" := N}) -> each(fun pingpong/1, N);
bench("ring", #{"tasks" := Tasks, "count" := N}) -> ring(Tasks, N);
bench("mpmc", #{"count" := N}) ->
    each(fun mpmc/1, N),
    io:format("note a process keeps the queue: Erlang has no channel~n");
bench("mutex", #{"count" := N}) ->
    each(fun counter/1, N),
    io:format("note a process owns the counter: Erlang has no mutex~n");
bench("skynet", #{"leaves" := Leaves}) -> skynet(Leaves);
bench("multicore", #{"count" := N}) ->
    multicore(N div 10),
    T = now_ns(),
    multicore(N),
    report("value", (now_ns() - T) / 1.0e6);
bench("memory_recv", #{"tasks" := Tasks}) -> memory(Tasks, fun() -> receive never -> ok end end);
bench("memory_sleep", #{"tasks" := Tasks}) -> memory(Tasks, fun() -> timer:sleep(3600000) end);
bench("timers", #{"tasks" := Tasks}) -> timers(Tasks);
bench("hog", Args) -> hog(Args);
bench("echo", _) -> serve([], fun echo/1);
bench("http", _) -> clock(), serve([{packet, http_bin}], fun http/1).

now_ns() -> erlang:monotonic_time(nanosecond).

report(Key, Number) -> io:format("~s ~.3f~n", [Key, float(Number)]).

%% Runs a tenth to warm up, then all of it, and prints the nanoseconds for each.
each(Run, N) ->
    Run(N div 10),
    T = now_ns(),
    Run(N),
    report("value", (now_ns() - T) / N).

times(0, _) -> ok;
times(N, F) -> F(), times(N - 1, F).

%% The part of task I, of Total for all Tasks: what does not divide goes to the first ones.
share(Total, Tasks, I) when I < Total rem Tasks -> Total div Tasks + 1;
share(Total, Tasks, _) -> Total div Tasks.

%% Runs Task(0) to Task(N - 1), each in a process, and waits for all.
all(N, Task) -> started(N, Task), downs(N).

started(0, _) -> ok;
started(N, Task) -> spawn_monitor(fun() -> Task(N - 1) end), started(N - 1, Task).

downs(0) -> ok;
downs(N) -> receive {'DOWN', _, _, _, normal} -> downs(N - 1) end.

%% --- Processes that come, compute, and go ---

spawn_join(0) -> ok;
spawn_join(N) ->
    {_, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, _, _, _} -> spawn_join(N - 1) end.

yields(0) -> ok;
yields(N) -> erlang:yield(), yields(N - 1).

%% A call to the owner is a message there and one back, with a reference, as gen_server does it.
counter(N) ->
    Owner = spawn_link(fun() -> owner(0) end),
    all(8, fun(I) -> increments(Owner, share(N, 8, I)) end),
    N = call(Owner, value),
    Owner ! stop.

owner(N) ->
    receive
        {increment, From, Ref} -> From ! {Ref, ok}, owner(N + 1);
        {value, From, Ref} -> From ! {Ref, N}, owner(N);
        stop -> ok
    end.

call(Process, Request) ->
    Ref = make_ref(),
    Process ! {Request, self(), Ref},
    receive {Ref, Answer} -> Answer end.

increments(_, 0) -> ok;
increments(Owner, N) -> ok = call(Owner, increment), increments(Owner, N - 1).

skynet(Leaves) ->
    Self = self(),
    Right = Leaves * (Leaves - 1) div 2,
    T = now_ns(),
    spawn(fun() -> node(Self, 0, Leaves) end),
    Right = sum(1, 0),
    report("value", (now_ns() - T) / 1.0e6).

node(Parent, First, 1) -> Parent ! First;
node(Parent, First, Leaves) ->
    Self = self(),
    Part = Leaves div 10,
    [spawn(fun() -> node(Self, First + I * Part, Part) end) || I <- lists:seq(0, 9)],
    Parent ! sum(10, 0).

sum(0, Sum) -> Sum;
sum(N, Sum) -> receive X -> sum(N - 1, Sum + X) end.

%% Knuth's MMIX generator on 64 bits, which are beyond Erlang's small integers.
-define(A, 6364136223846793005).
-define(C, 1442695040888963407).
-define(MASK, 16#ffffffffffffffff).

multicore(N) ->
    Self = self(),
    [spawn_link(fun() -> Self ! {I, rounds(I, share(N, 2, I))} end) || I <- [0, 1]],
    [begin
         Right = jump(I, share(N, 2, I), ?A, ?C),
         receive {I, X} -> Right = X end
     end || I <- [0, 1]].

rounds(X, 0) -> X;
rounds(X, N) -> rounds((X * ?A + ?C) band ?MASK, N - 1).

%% Where the rounds lead, by squaring: to check those who went.
jump(X, 0, _, _) -> X;
jump(X, N, A, C) ->
    Next = case N band 1 of 1 -> (X * A + C) band ?MASK; 0 -> X end,
    jump(Next, N bsr 1, A * A band ?MASK, C * (A + 1) band ?MASK).

%% --- Processes that send each other messages ---

pingpong(N) ->
    {Answers, _} = spawn_monitor(fun answers/0),
    spawn_monitor(fun() -> asks(Answers, N) end),
    downs(2).

answers() -> receive {From, Message} -> From ! Message, answers(); stop -> ok end.

asks(Answers, 0) -> Answers ! stop;
asks(Answers, N) -> Answers ! {self(), N}, receive N -> asks(Answers, N - 1) end.

%% The token is how many hops are left. The process that it leaves none tells which one it is.
ring(Tasks, N) ->
    Self = self(),
    First = spawn_link(fun() -> receive {next, Next} -> hops(Next, 0, Self) end end),
    Second = lists:foldl(fun(I, Next) -> spawn_link(fun() -> hops(Next, I, Self) end) end,
                         First, lists:seq(Tasks - 1, 1, -1)),
    First ! {next, Second},
    each(fun(K) ->
             Hops = max(K, 1),
             First ! Hops - 1,
             Last = (Hops - 1) rem Tasks,
             receive {arrived, I} -> Last = I end
         end, N).

hops(Next, I, Done) ->
    receive
        0 -> Done ! {arrived, I};
        Left -> Next ! Left - 1
    end,
    hops(Next, I, Done).

mpmc(N) ->
    Channel = spawn_link(fun() -> channel(queue:new(), 0, queue:new(), queue:new()) end),
    all(8, fun(I) when I < 4 -> receives(Channel, share(N, 4, I));
              (I) -> sends(Channel, share(N, 4, I - 4)) end),
    0 = call(Channel, length),
    Channel ! stop.

%% A queue, who waits to receive, who waits to send. It answers each.
channel(Queue, Length, Receivers, Senders) ->
    receive
        {send, From, Message} when Length < 1024 ->
            From ! sent,
            case queue:out(Receivers) of
                {{value, Receiver}, Others} ->
                    Receiver ! {message, Message},
                    channel(Queue, Length, Others, Senders);
                {empty, _} -> channel(queue:in(Message, Queue), Length + 1, Receivers, Senders)
            end;
        {send, From, Message} ->
            channel(Queue, Length, Receivers, queue:in({From, Message}, Senders));
        {recv, From} when Length > 0 ->
            {{value, Message}, Rest} = queue:out(Queue),
            From ! {message, Message},
            case queue:out(Senders) of
                {{value, {Sender, Next}}, Others} ->
                    Sender ! sent,
                    channel(queue:in(Next, Rest), Length, Receivers, Others);
                {empty, _} -> channel(Rest, Length - 1, Receivers, Senders)
            end;
        {recv, From} -> channel(Queue, Length, queue:in(From, Receivers), Senders);
        {length, From, Ref} -> From ! {Ref, Length}, channel(Queue, Length, Receivers, Senders);
        stop -> ok
    end.

sends(_, 0) -> ok;
sends(Channel, N) -> Channel ! {send, self(), N}, receive sent -> sends(Channel, N - 1) end.

receives(_, 0) -> ok;
receives(Channel, N) ->
    Channel ! {recv, self()},
    receive {message, _} -> receives(Channel, N - 1) end.

%% --- Processes that wait ---

%% `Field: N kB` of a file in /proc, in bytes.
field(Path, Field) ->
    {ok, Text} = file:read_file(Path),
    {match, [KiB]} = re:run(Text, ["^", Field, ":\\s+(\\d+)"], [multiline, {capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024.

memory_now() ->
    {field("/proc/self/status", "VmRSS"), field("/proc/self/status", "VmPTE"),
     field("/proc/meminfo", "MemAvailable")}.

memory(Tasks, Wait) ->
    Self = self(),
    erlang:garbage_collect(),
    {Rss, PageTables, Available} = memory_now(),
    times(Tasks, fun() -> spawn(fun() -> Self ! waiting, Wait() end) end),
    times(Tasks, fun() -> receive waiting -> ok end end),
    %% From there to the wait itself.
    timer:sleep(200),
    {RssNow, PageTablesNow, AvailableNow} = memory_now(),
    report("value", (RssNow - Rss) / Tasks),
    report("page_tables", (PageTablesNow - PageTables) / Tasks),
    report("system", (Available - AvailableNow) / Tasks).

timers(Tasks) ->
    T = now_ns(),
    all(Tasks, fun(_) -> timer:sleep(rand:uniform(1000) - 1) end),
    report("value", (now_ns() - T) / 1.0e6 - 1000),
    report("rss", field("/proc/self/status", "VmHWM") / 1048576).

%% A hundred that sleep, beside others that compute from when the window begins until it ends.
hog(#{"hogs" := Hogs, "secs" := Secs, "late" := Path}) ->
    Self = self(),
    Begin = now_ns() + 300000000,
    End = Begin + round(Secs * 1.0e9),
    times(100, fun() -> spawn_link(fun() -> Self ! {late, lateness(Begin, End, [])} end) end),
    times(Hogs, fun() ->
        spawn_link(fun() -> timer:sleep(max(0, (Begin - now_ns()) div 1000000)), computes(End, 1) end)
    end),
    Late = [receive {late, Micros} -> Micros end || _ <- lists:seq(1, 100)],
    case file:write_file(Path, [[integer_to_list(Micros), $\n] || Micros <- lists:append(Late)]) of
        ok -> report("value", 0);
        {error, Why} -> stop(1, "~ts: ~ts", [Path, file:format_error(Why)])
    end.

%% Microseconds, each time that was due before the window's end and came after its begin: who was held up across either
%% counts in full.
lateness(Begin, End, Late) ->
    Due = now_ns() + 1000000,
    case Due < End of
        false -> Late;
        true ->
            timer:sleep(1),
            case now_ns() of
                Now when Now >= Begin -> lateness(Begin, End, [max(0, Now - Due) div 1000 | Late]);
                _ -> lateness(Begin, End, Late)
            end
    end.

%% Every call is a place where Erlang may take the scheduler away: a look at the clock is one more.
computes(End, X) ->
    case now_ns() < End of
        true -> computes(End, compute(20000, X));
        false -> X
    end.

compute(0, X) -> X;
compute(N, X) -> compute(N - 1, (X * 25214903917 + 11) band 16#ffffffff).

%% --- Servers: a process for each connection ---

%% Messages from a socket until this many, then again: the other side cannot fill the mailbox.
-define(AT_ONCE, {active, 100}).

serve(Options, Answer) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false},
                                        {nodelay, true}, {backlog, 4096} | Options]),
    {ok, Port} = inet:port(Listener),
    io:format("~b ~s~n", [Port, os:getpid()]),
    accept(Listener, Answer).

accept(Listener, Answer) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Connection = spawn(fun() ->
        receive yours -> inet:setopts(Socket, [?AT_ONCE]), Answer(Socket) end
    end),
    ok = gen_tcp:controlling_process(Socket, Connection),
    Connection ! yours,
    accept(Listener, Answer).

echo(Socket) ->
    receive
        {tcp, Socket, Data} -> gen_tcp:send(Socket, Data), echo(Socket);
        {tcp_passive, Socket} -> inet:setopts(Socket, [?AT_ONCE]), echo(Socket);
        {tcp_closed, Socket} -> ok;
        {tcp_error, Socket, _} -> ok
    end.

%% OTP takes requests apart. The connection is kept unless one says otherwise, or has a body, which nothing here reads.
http(Socket) ->
    case request(Socket, {none, keep}) of
        {{Found, keep}, ok} -> gen_tcp:send(Socket, response(Found, "keep-alive")), http(Socket);
        {{Found, close}, ok} ->
            gen_tcp:send(Socket, response(Found, "close")),
            gen_tcp:close(Socket);
        broken -> gen_tcp:close(Socket)
    end.

request(Socket, {Found, _} = Known) ->
    receive
        {http, Socket, {http_request, 'GET', {abs_path, <<"/">>}, Version}} ->
            request(Socket, {found, persistent(Version)});
        {http, Socket, {http_request, _, _, Version}} ->
            request(Socket, {other, persistent(Version)});
        {http, Socket, {http_header, _, 'Connection', _, Value}} ->
            case string:lowercase(Value) of
                <<"close">> -> request(Socket, {Found, close});
                <<"keep-alive">> -> request(Socket, {Found, keep});
                _ -> request(Socket, Known)
            end;
        {http, Socket, {http_header, _, 'Content-Length', _, Length}} when Length =/= <<"0">> ->
            request(Socket, {Found, close});
        {http, Socket, {http_header, _, 'Transfer-Encoding', _, _}} -> request(Socket, {Found, close});
        {http, Socket, {http_header, _, _, _, _}} -> request(Socket, Known);
        {http, Socket, http_eoh} when Found =/= none -> {Known, ok};
        {http, Socket, _} -> broken;
        {tcp_passive, Socket} -> inet:setopts(Socket, [?AT_ONCE]), request(Socket, Known);
        {tcp_closed, Socket} -> broken;
        {tcp_error, Socket, _} -> broken
    end.

persistent({1, 1}) -> keep;
persistent(_) -> close.

response(found, Connection) -> response("200 OK", binary:copy(<<"x">>, 1024), Connection);
response(other, Connection) -> response("404 Not Found", <<"not found\n">>, Connection).

response(Status, Body, Connection) ->
    ["HTTP/1.1 ", Status, "\r\ndate: ", ets:lookup_element(clock, date, 2),
     "\r\ncontent-type: text/plain\r\ncontent-length: ", integer_to_list(byte_size(Body)),
     "\r\nconnection: ", Connection, "\r\n\r\n", Body].

%% The date is written out once a second, not for each response.
clock() ->
    Self = self(),
    spawn_link(fun() ->
        ets:new(clock, [named_table, {read_concurrency, true}]),
        tick(),
        Self ! ticks,
        (fun Loop() -> timer:sleep(1000), tick(), Loop() end)()
    end),
    receive ticks -> ok end.

tick() ->
    {{Year, Month, Day}, {Hour, Minute, Second}} = calendar:universal_time(),
    Weekday = element(calendar:day_of_the_week(Year, Month, Day),
                      {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}),
    Name = element(Month, {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}),
    Date = io_lib:format("~s, ~2..0b ~s ~b ~2..0b:~2..0b:~2..0b GMT",
                         [Weekday, Day, Name, Year, Hour, Minute, Second]),
    ets:insert(clock, {date, list_to_binary(Date)}).
