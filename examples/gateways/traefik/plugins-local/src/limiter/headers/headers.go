// Package headers moves the limiter's headers from the request, where ForwardAuth puts them, to the response.
package headers

import (
	"context"
	"net/http"
	"strings"
)

// Config of the middleware. With a method, it sets the method of requests instead.
type Config struct {
	Method  string
	Headers []string
}

// CreateConfig is called by Traefik.
func CreateConfig() *Config { return &Config{} }

// New is called by Traefik.
func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	return http.HandlerFunc(func(rw http.ResponseWriter, request *http.Request) {
		if config.Method != "" {
			request.Method = config.Method
		}
		for _, name := range config.Headers {
			if value := request.Header.Get(name); value != "" {
				request.Header.Del(name)
				// In lower case, so that the middleware that removes the API's own headers leaves it.
				rw.Header()[strings.ToLower(name)] = []string{value}
			}
		}
		// Traefik answers 100 by itself. It forgets the headers of the response when the API answers 100, too.
		request.Header.Del("Expect")
		next.ServeHTTP(rw, request)
	}), nil
}
