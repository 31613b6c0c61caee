package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"quayctl.test/registry/control"
	"quayctl.test/registry/face"
	"quayctl.test/registry/images"
)

// destination is the flags of where a push goes.
type destination struct {
	at                   *string
	face, user, password string
	also                 list
}

func (d *destination) flags(set *flag.FlagSet) {
	set.StringVar(&d.face, "face", "", "push through this face, with its password; without: straight to the store")
	set.StringVar(&d.user, "user-name", "", "push as this user in place of the face's own")
	set.StringVar(&d.password, "password", "", "password of --user-name")
	set.Var(&d.also, "also-tag", "a further tag of the same image, may be given again")
}

// target finds out how to reach the place.
func (d *destination) target(ctx context.Context) (*images.Target, *control.Client, error) {
	client, err := control.NewClient(*d.at)
	if err != nil {
		return nil, nil, err
	}
	if d.face == "" {
		target, err := images.NewTarget(ctx, *d.at, "", "", nil)
		return target, client, err
	}
	var faces []face.State
	if err := client.Call(http.MethodGet, "/faces", nil, &faces); err != nil {
		return nil, nil, err
	}
	for _, found := range faces {
		if found.Name != d.face {
			continue
		}
		user, password := found.User, found.Password
		if d.user != "" {
			user, password = d.user, d.password
		}
		var authority control.Authority
		if err := client.Call(http.MethodGet, "/ca", nil, &authority); err != nil {
			return nil, nil, err
		}
		target, err := images.NewTarget(ctx, found.URL, user, password, []byte(authority.PEM))
		return target, client, err
	}
	return nil, nil, fmt.Errorf("no face %q to push through", d.face)
}

func push(args []string) error {
	set, at := controlled("push")
	to := destination{at: at}
	to.flags(set)
	var spec images.Spec
	var platforms, files, entrypoint, env list
	size := set.String("size", "0", "random content of one platform, such as 50MB or 50MiB")
	set.IntVar(&spec.Layers, "layers", 1, "layers that the random content is shared out to")
	set.StringVar(&spec.Seed, "seed", "", "images with the same seed, size and layers share their layers; without: REPOSITORY:TAG")
	set.Var(&platforms, "platform", "such as linux/arm64, may be given again; several make an index; without: linux/amd64")
	set.BoolVar(&spec.Index, "index", false, "make an index of one platform as well")
	set.Var(&files, "file", "PATH=SOURCE: put a file of this machine into the image, mode 0755; may be given again")
	set.Var(&entrypoint, "entrypoint", "first word of the entrypoint, may be given again for the next")
	set.Var(&env, "env", "NAME=VALUE of the image's environment, may be given again")
	set.StringVar(&spec.User, "user", "", "user of the image, such as 65532")
	broken := set.String("break", "", "missing-blob, corrupt-layer or schema-1")
	given, err := parse(set, args, "REPOSITORY:TAG")
	if err != nil {
		return err
	}
	spec.Entrypoint, spec.Env = entrypoint, env
	if spec.Seed == "" {
		spec.Seed = given[0]
	}
	if err := fillSpec(&spec, *size, platforms, files); err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	target, client, err := to.target(ctx)
	if err != nil {
		return err
	}
	tag, err := target.Tag(given[0])
	if err != nil {
		return err
	}
	flaw, err := newFlaw(*broken, client)
	if err != nil {
		return err
	}
	if *broken == schema1 {
		return pushSchema1(client, tag)
	}
	built, err := images.Build(spec)
	if err != nil {
		return err
	}
	pushed, err := target.Push(tag, built, to.also...)
	if err != nil {
		return err
	}
	if err := flaw(tag, pushed); err != nil {
		return err
	}
	return show(pushed)
}

func fillSpec(spec *images.Spec, size string, platforms, files list) error {
	bytes, err := humanize.ParseBytes(size)
	if err != nil {
		return fmt.Errorf("--size is %q; use a number of bytes, or one such as 50MB or 50MiB", size)
	}
	spec.Bytes = int64(bytes)
	if len(platforms) == 0 {
		platforms = list{"linux/amd64"}
	}
	for _, text := range platforms {
		platform, err := v1.ParsePlatform(text)
		if err != nil || platform.Architecture == "" {
			return fmt.Errorf("--platform is %q; use one such as linux/arm64 or linux/arm/v7", text)
		}
		spec.Platforms = append(spec.Platforms, *platform)
	}
	for _, text := range files {
		path, source, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("--file is %q; use PATH=SOURCE", text)
		}
		spec.Files = append(spec.Files, images.File{Path: path, Source: source})
	}
	return nil
}

func pushArchive(args []string) error {
	set, at := controlled("push-archive")
	to := destination{at: at}
	to.flags(set)
	given, err := parse(set, args, "FILE", "REPOSITORY:TAG")
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	target, _, err := to.target(ctx)
	if err != nil {
		return err
	}
	tag, err := target.Tag(given[1])
	if err != nil {
		return err
	}
	unpacked, err := os.MkdirTemp("", "registry-archive-")
	if err != nil {
		return err
	}
	pushed, err := pushFrom(given[0], unpacked, target, tag, to.also)
	if err := errors.Join(err, os.RemoveAll(unpacked)); err != nil {
		return err
	}
	return show(pushed)
}

func pushFrom(file, unpacked string, target *images.Target, tag name.Tag, also list) (images.Pushed, error) {
	built, err := images.OpenArchive(file, unpacked)
	if err != nil {
		return images.Pushed{}, err
	}
	return target.Push(tag, built, also...)
}

func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}
