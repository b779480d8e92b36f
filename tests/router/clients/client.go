// Asks by Go's net/http; prints [name, fault or null] for each case.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"
)

var base string
var client = &http.Client{Timeout: 15 * time.Second}

func test(name string, run func() error) {
	var fault interface{}
	if err := run(); err != nil {
		fault = err.Error()
	}
	line, _ := json.Marshal([]interface{}{name, fault})
	fmt.Println(string(line))
}

func same(is, wanted interface{}) error {
	if is != wanted {
		return fmt.Errorf("%.300v, not %.300v", is, wanted)
	}
	return nil
}

func ask(method, path string, body io.Reader, change func(*http.Request)) (*http.Response, string, error) {
	r, err := http.NewRequest(method, base+path, body)
	if err != nil {
		return nil, "", err
	}
	r.Host = "app.test"
	if change != nil {
		change(r)
	}
	a, err := client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, string(b), err
}

func body(method, path string, b io.Reader, change func(*http.Request), wanted string) func() error {
	return func() error {
		_, got, err := ask(method, path, b, change)
		if err != nil {
			return err
		}
		if !strings.Contains(got, wanted) {
			return fmt.Errorf("%.300s", got)
		}
		return nil
	}
}

type pieces struct{ left int }

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	p.left--
	return copy(b, make([]byte, 1000)), nil
}

func main() {
	base = "http://" + os.Args[1]
	test("GET", body("GET", "/hello", nil, nil, "hello"))
	test("HEAD", func() error {
		a, b, err := ask("HEAD", "/hello", nil, nil)
		if err != nil {
			return err
		}
		return same(fmt.Sprint(a.ContentLength, len(b)), "5 0")
	})
	test("the connection is kept", func() error {
		reused := false
		if _, _, err := ask("GET", "/hello", nil, nil); err != nil {
			return err
		}
		_, _, err := ask("GET", "/hello", nil, func(r *http.Request) {
			*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}))
		})
		if err != nil {
			return err
		}
		return same(reused, true)
	})
	test("204 and 304, then another", func() error {
		for _, s := range []int{204, 304, 200} {
			a, _, err := ask("GET", fmt.Sprintf("/status/%d", s), nil, nil)
			if err != nil {
				return err
			}
			if err := same(a.StatusCode, s); err != nil {
				return err
			}
		}
		return nil
	})
	test("compressed text, by itself", body("GET", "/text", nil, nil, "line 1999 of"))
	test("compressed text is told", func() error {
		a, _, err := ask("GET", "/text", nil, nil)
		if err != nil {
			return err
		}
		return same(a.Uncompressed, true)
	})
	test("upload with a length", body("POST", "/digest", bytes.NewReader(make([]byte, 2000000)), nil, "2000000"))
	test("upload in chunks", body("POST", "/digest", &pieces{100}, nil, "100000"))
	test("Expect: 100-continue", body("POST", "/digest", bytes.NewReader(make([]byte, 7)), func(r *http.Request) { r.Header.Set("Expect", "100-continue") }, `"size": 7`))
	test("trailers of a request", body("POST", "/digest", &pieces{3}, func(r *http.Request) { r.Trailer = http.Header{"X-Sum": {"1"}} }, "3000"))
	test("echo of 1 MB", func() error {
		_, b, err := ask("POST", "/echo", bytes.NewReader(make([]byte, 1000000)), nil)
		if err != nil {
			return err
		}
		return same(len(b), 1000000)
	})
	test("3 MB", func() error {
		_, b, err := ask("GET", "/data", nil, nil)
		if err != nil {
			return err
		}
		return same(len(b), 3145728)
	})
	test("redirect", body("GET", "/status/302", nil, nil, "hello"))
	test("cancelled, others are served", func() error {
		ctx, cancel := context.WithCancel(context.Background())
		r, _ := http.NewRequestWithContext(ctx, "GET", base+"/data", nil)
		a, err := client.Do(r)
		if err != nil {
			return err
		}
		cancel()
		a.Body.Close()
		_, b, err := ask("GET", "/hello", nil, nil)
		if err != nil {
			return err
		}
		return same(b, "hello")
	})
	test("500 from 50 goroutines", func() error {
		var group sync.WaitGroup
		faults := make(chan error, 500)
		for i := 0; i < 50; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for n := 0; n < 10; n++ {
					if _, b, err := ask("GET", "/hello", nil, nil); err != nil || b != "hello" {
						faults <- fmt.Errorf("%q %v", b, err)
					}
				}
			}()
		}
		group.Wait()
		if len(faults) > 0 {
			return <-faults
		}
		return nil
	})
}
