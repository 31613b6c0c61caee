// Package site is the network that real nodes stand in: one bridge, a network
// namespace for each node and one for the registries, and a way to it from the
// host. The bridge has a namespace of its own, so that all of it is gone, and every
// interface, route and iptables rule with it, as soon as no process of the bed is
// left, however the bed ended.
package site
