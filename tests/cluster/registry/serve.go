package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"quayctl.test/registry/control"
	"quayctl.test/registry/face"
	"quayctl.test/registry/names"
	"quayctl.test/registry/store"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	address       string
	controlPort   int
	dnsPort       int
	dir, hostsDir string
	zone          string
	device        string
}

func serve(args []string) error {
	var options serveOptions
	set := flag.NewFlagSet("registry serve", flag.ContinueOnError)
	set.StringVar(&options.address, "address", "127.0.0.1", "IPv4 address of everything that listens, and of every name of the zone")
	set.IntVar(&options.controlPort, "control-port", 0, "port of the control API; 0: one that is free")
	set.IntVar(&options.dnsPort, "dns-port", 53, "port of DNS, UDP and TCP; 0: no DNS")
	set.StringVar(&options.dir, "dir", "", "folder of the store")
	set.StringVar(&options.hostsDir, "hosts-dir", "", "containerd's config_path, where hosts.toml files are written")
	set.StringVar(&options.zone, "zone", "test", "zone that the faces' names are in")
	set.StringVar(&options.device, "interface", "eth0", "interface that registry link limits")
	if _, err := parse(set, args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	server, err := start(options)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(server.ready()); err != nil {
		return errors.Join(err, server.close())
	}
	<-ctx.Done()
	return server.close()
}

// running is everything that serve has started.
type running struct {
	control net.Listener
	api     *http.Server
	faces   *face.Set
	store   *store.Store
	dns     *names.Server // nil without
}

// ready is the line by which a caller knows that all listen.
type ready struct {
	Ready   bool   `json:"ready"`
	Control string `json:"control"`
	DNS     string `json:"dns,omitempty"`
}

func start(options serveOptions) (*running, error) {
	address, err := netip.ParseAddr(options.address)
	if err != nil || !address.Is4() {
		return nil, fmt.Errorf("--address is %q; use an IPv4 address", options.address)
	}
	if options.dir == "" {
		return nil, errors.New("--dir is missing; give the folder of the store")
	}
	images, err := store.Open(filepath.Join(options.dir, "store"))
	if err != nil {
		return nil, err
	}
	place := face.Place{
		Address: net.IP(address.AsSlice()), Zone: options.zone,
		HostsDir: options.hostsDir, CacheDir: filepath.Join(options.dir, "caches"),
	}
	faces, err := face.NewSet(place, images)
	if err != nil {
		return nil, err
	}
	zone := names.NewZone(options.zone, address)
	server := &running{faces: faces, store: images}
	if options.dnsPort != 0 {
		if server.dns, err = names.Listen(zone, net.JoinHostPort(options.address, strconv.Itoa(options.dnsPort))); err != nil {
			return nil, errors.Join(err, server.close())
		}
	}
	server.control, err = net.Listen("tcp", net.JoinHostPort(options.address, strconv.Itoa(options.controlPort)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for the control API: %w", err), server.close())
	}
	api := &control.API{Store: images, Faces: faces, Zone: zone, Interface: options.device}
	server.api = api.Server()
	go func() { _ = server.api.Serve(server.control) }()
	return server, nil
}

func (r *running) ready() ready {
	line := ready{Ready: true, Control: "http://" + r.control.Addr().String()}
	if r.dns != nil {
		line.DNS = r.dns.Address()
	}
	return line
}

func (r *running) close() error {
	err := r.faces.Close()
	if r.api != nil {
		err = errors.Join(err, r.api.Close())
	}
	if r.dns != nil {
		err = errors.Join(err, r.dns.Close())
	}
	return errors.Join(err, r.store.Close())
}
