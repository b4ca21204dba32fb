package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
)

// pathOf returns the path at which a gateway takes a tenant's webhooks; "" means a gateway without tenants.
func pathOf(tenant string) string {
	if tenant == "" {
		return "/webhook/cognigy"
	}
	return "/t/" + tenant
}

// address parses a --target. If it has no path, it gets this one. A target that is not on loopback is refused unless
// the person says that the machine is theirs: nobody may load another person's machine.
func address(ctx context.Context, target, path string, owned bool) (string, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("--target %q: want http://host:port or https://host:port", target)
	}
	u.Fragment = ""
	if u.Path == "" || u.Path == "/" {
		u.Path = path
	}
	if owned {
		return u.String(), nil
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return "", fmt.Errorf("--target %s: %w", target, err)
	}
	for _, a := range addresses {
		if !a.IP.IsLoopback() {
			return "", fmt.Errorf("--target %s is %s, not on loopback: a load test is an attack; if it is yours, say "+
				"--i-own-this-target",
				target, a.IP)
		}
	}
	return u.String(), nil
}
