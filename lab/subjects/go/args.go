package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// What there is, as lab/subjects/README.md has it. A bench has exactly its keys: one that went on with a default would
// print a number that nobody asked for.
var benches = map[string][]string{
	"spawn_join":   {"workers", "count"},
	"spawn_many":   {"workers", "count"},
	"yield":        {"workers", "count"},
	"pingpong":     {"workers", "count"},
	"ring":         {"workers", "tasks", "count"},
	"mpmc":         {"workers", "count"},
	"mutex":        {"workers", "count"},
	"select":       {"workers", "count"},
	"skynet":       {"workers", "leaves"},
	"memory_recv":  {"workers", "tasks"},
	"memory_sleep": {"workers", "tasks"},
	"timers":       {"workers", "tasks"},
	"multicore":    {"workers", "count"},
	"hog":          {"workers", "hogs", "secs", "late"},
	"blocked":      {"workers", "stuck", "secs", "late"},
	"echo":         {"workers"},
	"http":         {"workers"},
}

type args struct {
	bench  string
	values map[string]string
}

// parse reads BENCH key=value…, or says what is wrong with it.
func parse(arguments []string) (args, error) {
	if len(arguments) == 0 {
		return args{}, fmt.Errorf("which bench? BENCH key=value…")
	}
	a := args{arguments[0], map[string]string{}}
	keys, known := benches[a.bench]
	if !known {
		return a, fmt.Errorf("no bench is called %s", a.bench)
	}
	for _, argument := range arguments[1:] {
		key, value, found := strings.Cut(argument, "=")
		if !found {
			return a, fmt.Errorf("not key=value: %s", argument)
		}
		if !contains(keys, key) {
			return a, fmt.Errorf("%s has no key %s: it has %s", a.bench, key, strings.Join(keys, ", "))
		}
		if wanted := check(key, value); wanted != "" {
			return a, fmt.Errorf("%s=%s: %s is %s", key, value, key, wanted)
		}
		a.values[key] = value
	}
	for _, key := range keys {
		if _, given := a.values[key]; !given {
			return a, fmt.Errorf("%s needs %s=…", a.bench, key)
		}
	}
	return a, nil
}

// check returns what the key's value should have been, or nothing if it is.
func check(key, value string) string {
	number, notNumber := strconv.ParseUint(value, 10, 62)
	switch key {
	case "late":
		if value == "" {
			return "a path"
		}
	case "secs":
		if secs, err := strconv.ParseFloat(value, 64); err != nil || !(secs > 0 && secs < 1e6) {
			return "seconds"
		}
	case "hogs", "stuck":
		if notNumber != nil {
			return "a number"
		}
	case "leaves":
		for number > 1 && number%10 == 0 {
			number /= 10
		}
		if notNumber != nil || number != 1 {
			return "a power of ten, as each inner task has ten children"
		}
	default:
		if notNumber != nil || number == 0 {
			return "a number above zero"
		}
	}
	return ""
}

func contains(keys []string, wanted string) bool {
	for _, key := range keys {
		if key == wanted {
			return true
		}
	}
	return false
}

func (a args) number(key string) int {
	number, _ := strconv.Atoi(a.values[key]) // as check has seen
	return number
}

func (a args) secs() time.Duration {
	secs, _ := strconv.ParseFloat(a.values["secs"], 64) // as check has seen
	return time.Duration(secs * float64(time.Second))
}

// fail ends the run: nobody is to believe it.
func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

func report(key string, number float64) {
	fmt.Println(key, strconv.FormatFloat(number, 'f', -1, 64))
}

func reportEach(start time.Time, count int) {
	report("value", float64(time.Since(start).Nanoseconds())/float64(count))
}

func reportMillis(start time.Time) {
	report("value", time.Since(start).Seconds()*1e3)
}
