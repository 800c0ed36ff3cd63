// Command peer is the grpc-go peer: the echo service of the interop suite and
// a client for it.
//
// `--handshaker metadata` leaves the address to grpc-go's default, any other
// value is handed to it (HOST:PORT or unix:/path), `none` speaks plaintext.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/alts"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	service = "altsd.interop.Echo"
	whoAmI  = "/" + service + "/WhoAmI"
	chat    = "/" + service + "/Chat"
)

type options struct {
	listen, target, handshaker, testCase, expectPeer string
	serviceAccounts                                  list
	connections, messages                            int
	sizes                                            sizes
	deadline                                         time.Duration
	tokenExchange, subjectToken, audience            string
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: peer server|client OPTIONS"))
	}
	opts := parseOptions(os.Args[2:])
	switch os.Args[1] {
	case "server":
		if err := serve(opts); err != nil {
			fail(err)
		}
	case "client":
		dialogs := map[string]func(options) bool{"again": again, "reconnect": reconnect}
		if hold, known := dialogs[opts.testCase]; known {
			if !hold(opts) {
				os.Exit(1)
			}
			return
		}
		result := runClient(opts)
		report(result)
		if !result.OK {
			os.Exit(1)
		}
	default:
		fail(fmt.Errorf("unknown role %q", os.Args[1]))
	}
}

func parseOptions(arguments []string) options {
	opts := options{sizes: sizes{1, 1_000, 20_000, 300_000, 3_000_000}}
	flags := flag.NewFlagSet("peer", flag.ExitOnError)
	flags.StringVar(&opts.listen, "listen", "", "address to serve on")
	flags.StringVar(&opts.target, "target", "", "address to call")
	flags.StringVar(&opts.handshaker, "handshaker", "", "metadata, none, HOST:PORT or unix:/path")
	flags.StringVar(&opts.testCase, "case", "", "unary, stream, many, again, reconnect, bulk, greeter or token")
	flags.StringVar(&opts.expectPeer, "expect-peer", "", "account the server has to see")
	flags.Var(&opts.serviceAccounts, "service-account", "account the server may have, repeatable")
	flags.IntVar(&opts.connections, "connections", 100, "connections of the case many")
	flags.IntVar(&opts.messages, "messages", 100, "messages of the case bulk")
	flags.Var(&opts.sizes, "sizes", "bytes of the messages of the case stream, 1,2,3")
	flags.StringVar(&opts.tokenExchange, "token-exchange", "", "URL where calls get a token to carry")
	flags.StringVar(&opts.subjectToken, "subject-token", "", "file with the JWT that is given for it")
	flags.StringVar(&opts.audience, "audience", "", "whom the token is for")
	seconds := flags.Float64("deadline", 15, "seconds for each call")
	_ = flags.Parse(arguments) // ExitOnError: it does not return one
	opts.deadline = time.Duration(*seconds * float64(time.Second))
	return opts
}

func clientCredentials(opts options) credentials.TransportCredentials {
	if opts.handshaker == "none" {
		return insecure.NewCredentials()
	}
	altsOptions := alts.DefaultClientOptions()
	altsOptions.TargetServiceAccounts = opts.serviceAccounts
	if opts.handshaker != "metadata" {
		altsOptions.HandshakerServiceAddress = opts.handshaker
	}
	return alts.NewClientCreds(altsOptions)
}

func serverCredentials(opts options) credentials.TransportCredentials {
	if opts.handshaker == "none" {
		return insecure.NewCredentials()
	}
	altsOptions := alts.DefaultServerOptions()
	if opts.handshaker != "metadata" {
		altsOptions.HandshakerServiceAddress = opts.handshaker
	}
	return alts.NewServerCreds(altsOptions)
}

type list []string

func (l *list) String() string { return fmt.Sprint(*l) }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

type sizes []int

func (s *sizes) String() string { return fmt.Sprint(*s) }

func (s *sizes) Set(value string) error {
	*s = nil
	for _, word := range strings.Split(value, ",") {
		size, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		*s = append(*s, size)
	}
	return nil
}

// rawCodec leaves messages as they are: the service has no schema.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, message any) error {
	// The buffer is lent for the call only.
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func report(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "peer:", err)
	os.Exit(2)
}
