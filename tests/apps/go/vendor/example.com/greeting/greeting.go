// Package greeting says hello.
package greeting

// To greets someone.
func To(name string) string { return "Hello from " + name }
