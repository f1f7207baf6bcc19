module subject

// The language and the defaults of a Go with today's timers; older ones build it all the same. No dependency.
go 1.23
