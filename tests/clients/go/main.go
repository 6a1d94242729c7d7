// The Go client of Debian's golang-github-samuel-go-zookeeper-dev against an ensemble, also while its servers are killed.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/samuel/go-zookeeper/zk"
)

const (
	session  = 15 * time.Second
	deadline = 30 * time.Second
)

var (
	open    = zk.WorldACL(zk.PermAll)
	servers = strings.Split(os.Args[1], ",")
	input   = bufio.NewReader(os.Stdin)
	failed  = false
)

// client is a connected client and the changes of its connection.
type client struct {
	*zk.Conn
	states <-chan zk.Event
}

// dial opens a connection: by TLS if the second word is a file with the certificate of the servers' authority.
func dial(network, address string, timeout time.Duration) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: timeout}
	if len(os.Args) < 3 {
		return dialer.Dial(network, address)
	}
	authority, err := os.ReadFile(os.Args[2])
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("no certificate in %s", os.Args[2])
	}
	return tls.DialWithDialer(dialer, network, address, &tls.Config{RootCAs: roots})
}

func connected() (*client, error) {
	conn, states, err := zk.Connect(servers, session, zk.WithLogInfo(false), zk.WithDialer(dial))
	if err != nil {
		return nil, err
	}
	made := &client{conn, states}
	return made, made.await(zk.StateHasSession)
}

// await waits for this state of the connection.
func (c *client) await(state zk.State) error {
	for {
		event, err := next(c.states)
		if err != nil || event.State == state {
			return err
		}
	}
}

func (c *client) made(path string) error {
	_, err := c.Create(path, []byte("data"), 0, open)
	return err
}

// check runs one check and tells how it went.
func check(name string, body func() error) {
	if err := body(); err != nil {
		failed = true
		fmt.Printf("failed %s: %v\n", name, err)
		return
	}
	fmt.Println("passed", name)
}

// please lets something happen to the servers, and waits until it has.
func please(request string) error {
	fmt.Println("please", request)
	answer, err := input.ReadString('\n')
	return first(err, equal("done\n", answer))
}

// next is the next event, waited for.
func next(events <-chan zk.Event) (zk.Event, error) {
	select {
	case event, ok := <-events:
		if !ok {
			return event, errors.New("the client is closed")
		}
		return event, event.Err
	case <-time.After(deadline):
		return zk.Event{}, errors.New("no event")
	}
}

// told fails unless the next event is this one.
func told(kind zk.EventType, path string, events <-chan zk.Event) error {
	event, err := next(events)
	return first(err, equal(kind, event.Type), equal(path, event.Path))
}

func equal(expected, found interface{}) error {
	if reflect.DeepEqual(expected, found) {
		return nil
	}
	return fmt.Errorf("expected %v, found %v", expected, found)
}

// first is the first error of several.
func first(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	mine, err := connected()
	if err == nil {
		var other *client
		if other, err = connected(); err == nil {
			checks(mine, other)
		}
	}
	if err != nil {
		failed = true
		fmt.Println("failed connection:", err)
	}
	fmt.Println("finished")
	if failed {
		os.Exit(1)
	}
}

func checks(mine, other *client) {
	check("versions and error codes", func() error { return errorCodes(mine) })
	check("modes of create", func() error { return modes(mine) })
	check("multi", func() error { return multi(mine) })
	check("access lists", func() error { return accessLists(other) })
	check("watches", func() error { return watches(mine, other) })
	check("ephemerals go with their session", func() error { return ephemerals(mine) })
	check("lock", func() error { return lock(mine, other) })
	// Its other words, srvr and cons, know only the answers of older servers.
	check("are you ok", func() error { return equal([]bool{true, true, true}, zk.FLWRuok(servers, deadline)) })
	check("a session outlives its server", func() error {
		return outlives(mine, other, "/server", "kill "+mine.Server(), true)
	})
	check("a session outlives the leader", func() error {
		return outlives(mine, other, "/leader", "kill leader", false)
	})
}

func errorCodes(c *client) error {
	if err := first(c.made("/errors"), c.made("/errors/child")); err != nil {
		return err
	}
	_, badSet := c.Set("/errors", nil, 1)
	_, _, noGet := c.Get("/errors/none")
	_, _, noList := c.Children("/errors/none")
	found, _, noError := c.Exists("/errors/none")
	_, badACL := c.Create("/errors/acl", nil, 0, []zk.ACL{{Perms: zk.PermAll, Scheme: "nonsense", ID: "x"}})
	codes := []error{c.made("/errors"), c.made("/errors/none/child"), c.Delete("/errors", -1),
		c.Delete("/errors/child", 1), badSet, noGet, noList, noError, badACL}
	expected := []error{zk.ErrNodeExists, zk.ErrNoNode, zk.ErrNotEmpty,
		zk.ErrBadVersion, zk.ErrBadVersion, zk.ErrNoNode, zk.ErrNoNode, nil, zk.ErrInvalidACL}
	set, setErr := c.Set("/errors", []byte("longer"), 0)
	data, read, getErr := c.Get("/errors")
	names, _, listErr := c.Children("/errors")
	if err := first(equal(expected, codes), equal(false, found), setErr, getErr, listErr); err != nil {
		return err
	}
	return first(equal("longer", string(data)), equal(set, read), equal([]string{"child"}, names),
		equal([]int32{1, 6, 1}, []int32{set.Version, set.DataLength, set.NumChildren}),
		c.Delete("/errors/child", 0))
}

func modes(c *client) error {
	if err := c.made("/modes"); err != nil {
		return err
	}
	sequence, err1 := c.Create("/modes/s-", nil, zk.FlagSequence, open)
	both, err2 := c.Create("/modes/e-", nil, zk.FlagSequence|zk.FlagEphemeral, open)
	brief, err3 := c.Create("/modes/e", nil, zk.FlagEphemeral, open)
	protected, err4 := c.CreateProtectedEphemeralSequential("/modes/p-", nil, open)
	_, stat, err5 := c.Exists("/modes/e")
	if err := first(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	return first(
		equal([]string{"/modes/s-0000000000", "/modes/e-0000000001", "/modes/e"}, []string{sequence, both, brief}),
		equal(true, strings.HasPrefix(protected, "/modes/_c_") && strings.HasSuffix(protected, "-p-0000000003")),
		equal(c.SessionID(), stat.EphemeralOwner),
		equal(zk.ErrNoChildrenForEphemerals, c.made("/modes/e/child")))
}

func multi(c *client) error {
	if err := c.made("/multi"); err != nil {
		return err
	}
	results, err := c.Multi(
		&zk.CreateRequest{Path: "/multi/a", Data: []byte("a"), Acl: open},
		&zk.SetDataRequest{Path: "/multi/a", Data: []byte("ab"), Version: 0},
		&zk.CheckVersionRequest{Path: "/multi/a", Version: 1},
		&zk.DeleteRequest{Path: "/multi/a", Version: 1},
		&zk.CreateRequest{Path: "/multi/s-", Acl: open, Flags: zk.FlagSequence})
	if err := first(err, equal(5, len(results))); err != nil {
		return err
	}
	err = first(equal("/multi/a", results[0].String), equal("/multi/s-0000000001", results[4].String),
		equal(int32(2), results[1].Stat.DataLength), equal(int32(1), results[1].Stat.Version))
	if err != nil {
		return err
	}
	results, err = c.Multi(
		&zk.CreateRequest{Path: "/multi/b", Acl: open},
		&zk.CheckVersionRequest{Path: "/multi", Version: 7},
		&zk.DeleteRequest{Path: "/multi/none", Version: -1})
	found, _, existsErr := c.Exists("/multi/b")
	if err := first(equal(zk.ErrBadVersion, err), equal(3, len(results)), existsErr, equal(false, found)); err != nil {
		return err
	}
	return first(results[0].Error, equal(zk.ErrBadVersion, results[1].Error))
}

func accessLists(stranger *client) error {
	owner, err := connected()
	if err != nil {
		return err
	}
	defer owner.Close()
	err = owner.AddAuth("digest", []byte("me:secret"))
	_, createErr := owner.Create("/acl", []byte("mine"), 0, zk.AuthACL(zk.PermAll))
	list, _, listErr := owner.GetACL("/acl")
	_, syncErr := stranger.Sync("/acl")
	_, _, noGet := stranger.Get("/acl")
	_, noSet := stranger.Set("/acl", nil, -1)
	err = first(err, createErr, listErr, syncErr, equal(zk.DigestACL(zk.PermAll, "me", "secret"), list),
		equal([]error{zk.ErrNoAuth, zk.ErrNoAuth, zk.ErrNoAuth}, []error{noGet, noSet, stranger.made("/acl/c")}))
	if err != nil {
		return err
	}
	readers := append(zk.WorldACL(zk.PermRead), list...)
	_, badVersion := owner.SetACL("/acl", readers, 1)
	stat, setErr := owner.SetACL("/acl", readers, 0)
	_, syncErr = stranger.Sync("/acl")
	data, _, getErr := stranger.Get("/acl")
	if err := first(equal(zk.ErrBadVersion, badVersion), setErr, syncErr, getErr); err != nil {
		return err
	}
	return first(equal(int32(1), stat.Aversion), equal("mine", string(data)))
}

func watches(mine, other *client) error {
	err := mine.made("/shot")
	_, _, data, err1 := mine.GetW("/shot")
	_, _, children, err2 := mine.ChildrenW("/shot")
	found, _, exists, err3 := mine.ExistsW("/shot/c")
	if err := first(err, err1, err2, err3, equal(false, found)); err != nil {
		return err
	}
	err = first(other.made("/shot/c"), told(zk.EventNodeCreated, "/shot/c", exists),
		told(zk.EventNodeChildrenChanged, "/shot", children))
	_, setErr := other.Set("/shot", nil, -1)
	err = first(err, setErr, told(zk.EventNodeDataChanged, "/shot", data))
	_, _, gone, err1 := mine.GetW("/shot/c")
	return first(err, err1, other.Delete("/shot/c", -1), told(zk.EventNodeDeleted, "/shot/c", gone))
}

func ephemerals(mine *client) error {
	brief, err := connected()
	if err != nil {
		return err
	}
	_, err = brief.Create("/brief", nil, zk.FlagEphemeral, open)
	_, syncErr := mine.Sync("/brief")
	found, _, gone, existsErr := mine.ExistsW("/brief")
	brief.Close()
	return first(err, syncErr, existsErr, equal(true, found), told(zk.EventNodeDeleted, "/brief", gone))
}

func lock(mine, other *client) error {
	held, wanted := zk.NewLock(mine.Conn, "/lock", open), zk.NewLock(other.Conn, "/lock", open)
	if err := held.Lock(); err != nil {
		return err
	}
	_, _, waits, err := mine.ChildrenW("/lock")
	acquired := make(chan error, 1)
	go func() { acquired <- wanted.Lock() }()
	if err := first(err, told(zk.EventNodeChildrenChanged, "/lock", waits), equal(0, len(acquired)), held.Unlock()); err != nil {
		return err
	}
	select {
	case err := <-acquired:
		return first(err, wanted.Unlock())
	case <-time.After(deadline):
		return errors.New("the lock was not passed on")
	}
}

// outlives holds that an ephemeral and watches are there after the client's server, or the leader, was killed.
func outlives(mine, other *client, path, request string, isMine bool) error {
	id := mine.SessionID()
	// The client takes a watch for children away when the data changes: they are on two znodes.
	err := first(mine.made(path), mine.made(path+"/parent"))
	_, ephemeralErr := mine.Create(path+"/ephemeral", nil, zk.FlagEphemeral, open)
	_, before, existsErr := mine.Exists(path + "/ephemeral")
	_, _, data, dataErr := mine.GetW(path)
	_, _, children, childrenErr := mine.ChildrenW(path + "/parent")
	if err := first(err, ephemeralErr, existsErr, dataErr, childrenErr); err != nil {
		return err
	}
	for len(mine.states) > 0 {
		<-mine.states
	}
	err = please(request)
	if err == nil && isMine {
		err = first(mine.await(zk.StateDisconnected), mine.await(zk.StateHasSession))
	}
	err = first(err, setAtLast(other, path), told(zk.EventNodeDataChanged, path, data),
		other.made(path+"/parent/child"), told(zk.EventNodeChildrenChanged, path+"/parent", children))
	if err != nil {
		return err
	}
	_, after, err := mine.Exists(path + "/ephemeral")
	return first(err, equal(before, after), equal(id, mine.SessionID()), please("start all"))
}

// setAtLast writes, and again for as long as the connection is lost.
func setAtLast(c *client, path string) error {
	for {
		_, err := c.Set(path, []byte("new"), -1)
		if err != zk.ErrConnectionClosed {
			return err
		}
	}
}
