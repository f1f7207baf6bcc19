module subject

// What Debian 12 has. No dependency.
go 1.19
