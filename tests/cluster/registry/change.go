package main

import (
	"net/http"
	"path"
	"strings"

	"quayctl.test/registry/control"
	"quayctl.test/registry/images"
)

// tag lets a further tag name an image; it may have named another before.
func tag(args []string) error {
	set, at := controlled("tag")
	given, err := parse(set, args, "REPOSITORY:TAG", "TAG")
	if err != nil {
		return err
	}
	target, err := storeTarget(*at)
	if err != nil {
		return err
	}
	digest, err := target.Retag(given[0], given[1])
	if err != nil {
		return err
	}
	return show(map[string]string{"tag": given[1], "digest": digest})
}

// remove deletes a tag, a manifest or a whole repository of the store.
func remove(args []string) error {
	set, at := controlled("delete")
	given, err := parse(set, args, "REPOSITORY[:TAG|@DIGEST]")
	if err != nil {
		return err
	}
	if !strings.ContainsAny(path.Base(given[0]), ":@") {
		return call(*at, http.MethodDelete, "/store/repositories/"+given[0], nil)
	}
	target, err := storeTarget(*at)
	if err != nil {
		return err
	}
	if err := target.Delete(given[0]); err != nil {
		return err
	}
	return show(control.Removed{Removed: given[0]})
}

func storeTarget(at string) (*images.Target, error) {
	if _, err := control.NewClient(at); err != nil {
		return nil, err
	}
	ctx, _ := interruptible()
	return images.NewTarget(ctx, at, "", "", nil)
}
