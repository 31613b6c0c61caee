// Package cluster starts, watches over and ends one cluster: a real control
// plane and simulated nodes, as processes of this machine, listening on the
// loopback address only and keeping all state below one directory.
package cluster
