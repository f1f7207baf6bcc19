# run.sh FOLDER BENCH key=value...: starts Erlang with as many schedulers as the key `workers` says, which cannot be told
# to a program that runs, and as many descriptors as the process may have.
folder=$1
shift
workers=1
for argument; do
    case $argument in
        workers=*[!0-9]* | workers= | workers=0*) ;; # The program says what is wrong with it.
        workers=*) workers=${argument#workers=} ;;
    esac
done
ulimit -n "$(ulimit -Hn)"
export ERL_CRASH_DUMP_BYTES=0
exec erl -noinput +S "$workers:$workers" +P 4000000 +Q 65536 -pa "$folder" -s subject main -extra "$@"
