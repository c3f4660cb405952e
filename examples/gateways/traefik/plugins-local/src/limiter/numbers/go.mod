module limiter/numbers

go 1.22
