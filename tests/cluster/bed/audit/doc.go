// Package audit counts requests in an API server's audit log: the one place
// that tells whose request it was.
package audit
