module limiter/headers

go 1.22
