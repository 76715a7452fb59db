package tracbus_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"os"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
)

// The whole way of one change: a listener in the same process receives it, and so does
// another program, through Redis.
func Example() {
	ctx := context.Background()
	server, err := miniredis.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	// The other program. The first thing it gets says that it is subscribed.
	next, stop := iter.Pull2(tracbus.NewSubscriber(rdb, tracbus.SubscriberConfig{}).Events(ctx))
	defer stop()
	event, _, _ := next()
	fmt.Println("subscriber:", event.(tracbus.Resync).Reason)

	// The tracker.
	bus := tracbus.NewBus("myenv") // its short name
	bus.All(tracbus.Primary, tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
	tracbus.On(bus, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
		_, err := fmt.Printf("listener: %s changed %s: %v\n", e.Author, e.Resource(), e.New)
		return err
	})
	err = bus.Notify(tracbus.TicketChanged{ // after your commit
		Change: tracbus.Change{Author: "joe", Comment: "Updated milestone."},
		ID:     17,
		Values: tracbus.Fields{"summary": "Test ticket", "milestone": "milestone1"},
		Old:    tracbus.Fields{"milestone": ""},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.Close(ctx); err != nil { // before the program ends: delivers what is queued
		log.Fatal(err)
	}

	event, err, _ = next()
	if err != nil {
		log.Fatal(err)
	}
	e := event.(tracbus.TicketChanged)
	fmt.Println("subscriber:", e.Env, e.Resource(), e.Kind(), e.New, e.Comment)

	// Output:
	// subscriber: subscribed
	// listener: joe changed ticket 17: map[milestone:milestone1]
	// subscriber: myenv ticket 17 changed map[milestone:milestone1] Updated milestone.
}

// A function receives one type of event, or all of them: [tracbus.Event].
func ExampleOn() {
	ctx := context.Background()
	bus := tracbus.NewBus("myenv")
	tracbus.On(bus, tracbus.Primary, func(ctx context.Context, e tracbus.Event) error {
		_, err := fmt.Println(e.About().Author, e.Kind(), e.Resource())
		return err
	})

	err := bus.Notify(
		tracbus.TicketDeleted{Change: tracbus.Change{Author: "joe"}, ID: 17},
		tracbus.WikiPageCreated{Change: tracbus.Change{Author: "ann"}, Page: tracbus.WikiPage{Name: "A Page", Version: 1}},
	)
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// joe deleted ticket 17
	// ann created wiki A Page
}

// mailer is a TicketListener: the compiler checks that it has a method for each of the
// three changes.
type mailer struct{}

func (mailer) TicketCreated(ctx context.Context, e tracbus.TicketCreated) error {
	return mail(e.Values.Text("owner"), "new: "+e.Values.Text("summary"))
}

func (mailer) TicketChanged(ctx context.Context, e tracbus.TicketChanged) error {
	return mail(e.Values.Text("owner"), e.Author+" says: "+e.Comment)
}

func (mailer) TicketDeleted(ctx context.Context, e tracbus.TicketDeleted) error {
	return mail(e.Values.Text("owner"), "deleted: "+e.Values.Text("summary"))
}

func mail(to, text string) error {
	_, err := fmt.Printf("to %s: %s\n", to, text)
	return err
}

// Mail is a side effect: Primary, so that only the process that made the change sends
// it.
func ExampleBus_Ticket() {
	ctx := context.Background()
	bus := tracbus.NewBus("myenv")
	bus.Ticket(tracbus.Primary, mailer{})

	values := tracbus.Fields{"owner": "ann", "summary": "It does not start."}
	err := bus.Notify(
		tracbus.TicketCreated{ID: 17, Values: values},
		tracbus.TicketChanged{Change: tracbus.Change{Author: "joe", Comment: "It does here."}, ID: 17, Values: values},
		tracbus.TicketDeleted{ID: 17, Values: values},
	)
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// to ann: new: It does not start.
	// to ann: joe says: It does here.
	// to ann: deleted: It does not start.
}

// pageCache is a WikiListener. The bus calls it from one goroutine; one that is
// read by others at the same time needs a lock.
type pageCache map[string]string

func (c pageCache) WikiPageCreated(ctx context.Context, e tracbus.WikiPageCreated) error {
	c[e.Page.Name] = e.Page.Text
	return nil
}

func (c pageCache) WikiPageChanged(ctx context.Context, e tracbus.WikiPageChanged) error {
	c[e.Page.Name] = e.Page.Text
	return nil
}

func (c pageCache) WikiPageDeleted(ctx context.Context, e tracbus.WikiPageDeleted) error {
	delete(c, e.Page.Name)
	return nil
}

// Resync makes the cache a ResyncListener: it forgets what may be stale.
func (c pageCache) Resync(ctx context.Context, e tracbus.Resync) error {
	clear(c)
	return nil
}

// A cache has to be right in every process: Everywhere.
func ExampleBus_Wiki() {
	ctx := context.Background()
	bus := tracbus.NewBus("myenv")
	cache := pageCache{}
	bus.Wiki(tracbus.Everywhere, cache)

	err := bus.Notify(
		tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "One", Version: 1, Text: "first"}},
		tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "Two", Version: 1, Text: "second"}},
		tracbus.WikiPageChanged{Page: tracbus.WikiPage{Name: "One", Version: 2, Text: "better"}, OldText: "first"},
		tracbus.WikiPageDeleted{Page: tracbus.WikiPage{Name: "Two", Version: 1, Text: "second"}},
	)
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.Wait(ctx); err != nil { // until every listener has received it
		log.Fatal(err)
	}
	fmt.Println(cache)
	if err := bus.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// map[One:better]
}

// A message as the original plugin sends it, received by whatever means.
func ExampleDecode() {
	event, err := tracbus.Decode("trac", "trac.myenv.ticket.changed.1",
		`{"new_values": {"milestone": "milestone1"}, "old_values": {"milestone": ""},
		  "author": "anonymous", "comment": "Updated milestone.", "id": 1}`)
	if err != nil {
		log.Fatal(err)
	}
	e := event.(tracbus.TicketChanged)
	fmt.Printf("%s: %s %s by %s\n", e.Env, e.Resource(), e.Kind(), e.Author)
	fmt.Printf("milestone: %q, before %q\n", e.New.Text("milestone"), e.Old.Text("milestone"))
	fmt.Println("all fields known:", !e.Absent.Has(tracbus.AttrValues))
	// Output:
	// myenv: ticket 1 changed by anonymous
	// milestone: "milestone1", before ""
	// all fields known: false
}

// The loop of the plugin's README: it receives typed events, and knows when it may have
// missed some.
func ExampleSubscriber_Events() {
	server, err := miniredis.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	subscriber := tracbus.NewSubscriber(rdb, tracbus.SubscriberConfig{})
	for event, err := range subscriber.Events(context.Background(), "trac.*.ticket.*") {
		switch e := event.(type) {
		case tracbus.Resync: // subscribed, or subscribed again after a loss
			fmt.Println("load the tickets now:", e.Reason)
			server.Publish("trac.myenv.ticket.created", `{}`)
			server.Publish("trac.myenv.ticket.changed.17",
				`{"new_values": {"milestone": "milestone1"}, "old_values": {"milestone": ""}, "author": "joe", "comment": "", "id": 17}`)
		case tracbus.TicketChanged:
			fmt.Println(e.Author, "changed", e.Resource(), e.New)
			return // a real program goes on
		case nil: // an error; the loop goes on
			fmt.Println(err)
		}
	}
	// Output:
	// load the tickets now: subscribed
	// message on channel "trac.myenv.ticket.created": not a payload of this channel: expected a member "id" or "name"
	// joe changed ticket 17 map[milestone:milestone1]
}

// A publisher is a listener for all realms. Any Redis client can subscribe.
func ExampleNewPublisher() {
	ctx := context.Background()
	server, err := miniredis.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	subscription := rdb.PSubscribe(ctx, "tracker.*")
	defer subscription.Close()
	if _, err := subscription.Receive(ctx); err != nil { // subscribed
		log.Fatal(err)
	}

	bus := tracbus.NewBus("myenv")
	publisher := tracbus.NewPublisher(rdb, tracbus.PublisherConfig{Prefix: "tracker"})
	bus.All(tracbus.Primary, publisher)
	err = bus.Notify(tracbus.TicketDeleted{ID: 17, Values: tracbus.Fields{"summary": "Test ticket"}})
	if err != nil {
		log.Fatal(err)
	}

	message, err := subscription.ReceiveMessage(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.Channel, message.Payload)
	if err := bus.Close(ctx); err != nil {
		log.Fatal(err)
	}
	publisher.Close()
	fmt.Println("published:", publisher.Stats().Published)
	// Output:
	// tracker.myenv.ticket.deleted {"summary":"Test ticket","id":17}
	// published: 1
}

// The settings of a Trac environment, unchanged.
func ExampleLoadConfig() {
	root, err := os.MkdirTemp("", "trac")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	folder := filepath.Join(root, "myenv", "conf")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "trac.ini"), []byte(`
[components]
tracext.redispub.* = enabled
tracext.redispub.wiki.* = disabled

[redis_client]
host = redis.example.org
password = correct horse

[redispub]
channel_prefix = tracker
`), 0o600); err != nil {
		log.Fatal(err)
	}

	config, err := tracbus.LoadConfig(filepath.Join(root, "myenv"))
	if err != nil {
		log.Fatal(err)
	}
	client, err := config.Redis.NewClient() // connects when it is first used
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	bus := tracbus.NewBus(config.Env)
	bus.All(tracbus.Primary, tracbus.NewPublisher(client, config.Publisher))
	defer bus.Close(context.Background())

	fmt.Println("env:", bus.Env())
	fmt.Println("Redis:", config.Redis.Addr, "password:", config.Redis.Password)
	fmt.Println("prefix:", config.Publisher.Prefix, "without:", config.Publisher.SkipRealms)
	// Output:
	// env: myenv
	// Redis: redis.example.org:6379 password: "[secret]"
	// prefix: tracker without: [wiki]
}
