// Package numbers moves the limiter's headers from the request, where ForwardAuth puts them, to the response.
package numbers

import (
	"bufio"
	"context"
	"net"
	"net/http"
)

var names = []string{"Ratelimit", "Ratelimit-Policy", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}

// Config has no options.
type Config struct{}

// CreateConfig is called by Traefik.
func CreateConfig() *Config { return &Config{} }

// New is called by Traefik.
func New(_ context.Context, next http.Handler, _ *Config, _ string) (http.Handler, error) {
	return http.HandlerFunc(func(rw http.ResponseWriter, request *http.Request) {
		numbers := map[string]string{}
		for _, name := range names {
			if value := request.Header.Get(name); value != "" {
				numbers[name] = value
				request.Header.Del(name)
			}
		}
		next.ServeHTTP(&response{ResponseWriter: rw, numbers: numbers}, request)
	}), nil
}

// response replaces the API's own headers of these names.
type response struct {
	http.ResponseWriter
	numbers map[string]string
	written bool
}

func (r *response) WriteHeader(status int) {
	if !r.written && status >= 200 {
		r.written = true
		for _, name := range names {
			r.Header().Del(name)
			if value, found := r.numbers[name]; found {
				r.Header().Set(name, value)
			}
		}
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(data []byte) (int, error) {
	if !r.written {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(data)
}

// Flush lets streams through.
func (r *response) Flush() {
	if flusher, found := r.ResponseWriter.(http.Flusher); found {
		flusher.Flush()
	}
}

// Hijack lets WebSocket through.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return r.ResponseWriter.(http.Hijacker).Hijack()
}
