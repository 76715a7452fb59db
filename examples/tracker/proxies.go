package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// networks are addresses of the command line, between commas, such as 10.0.0.0/8, ::1.
type networks []netip.Prefix

func (n *networks) String() string { return strings.Trim(fmt.Sprint([]netip.Prefix(*n)), "[]") }

func (n *networks) Set(text string) error {
	*n = nil
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		network, err := netip.ParsePrefix(part)
		if one, failed := netip.ParseAddr(part); failed == nil {
			network, err = netip.PrefixFrom(one, one.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("%q: expected an address or a network", part)
		}
		*n = append(*n, network)
	}
	return nil
}

func (n networks) have(a netip.Addr) bool {
	return slices.ContainsFunc(n, func(network netip.Prefix) bool { return network.Contains(a) })
}

// peer returns the address that a request comes from, perhaps that of a proxy.
func peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(host) // else the zero address, which no network has
	return a.Unmap().WithZone("")
}

// addressOf returns the address of whoever sends a request. What its headers say is
// believed only of proxies: each adds the address that it was called from at the end, and
// anybody may have written what stands before that.
func (s *site) addressOf(r *http.Request) netip.Addr {
	at := peer(r)
	all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for s.proxies.have(at) && len(all) > 0 {
		before, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1]))
		if err != nil {
			break
		}
		at, all = before.Unmap().WithZone(""), all[:len(all)-1]
	}
	return at
}

// crowd returns what an address is counted by: one machine has many addresses of IPv6.
func crowd(a netip.Addr) string {
	if a.Is6() {
		network, _ := a.Prefix(64) // which it has
		return network.String()
	}
	return a.String()
}

// encrypted says whether the visitor's browser sends its requests encrypted.
func (s *site) encrypted(r *http.Request) bool {
	return r.TLS != nil || s.proxies.have(peer(r)) && r.Header.Get("X-Forwarded-Proto") == "https"
}
