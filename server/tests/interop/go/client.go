package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/alts"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

type result struct {
	OK          bool   `json:"ok"`
	Peer        string `json:"peer,omitempty"`
	Server      string `json:"server,omitempty"`
	Connections int    `json:"connections,omitempty"`
	Code        string `json:"code,omitempty"`
	Error       string `json:"error,omitempty"`

	Connection    string `json:"connection,omitempty"`
	Authorization string `json:"authorization,omitempty"`
	Greeting      string `json:"greeting,omitempty"`
	Bytes         int    `json:"bytes,omitempty"`
	SHA256        string `json:"sha256,omitempty"`
}

// seen is what one reply tells: the account and the connection as the server
// saw them, and the server's account as this client saw it.
type seen struct{ account, connection, server string }

func runClient(opts options) result {
	alone := map[string]func(options) result{"token": tokenCall, "bulk": bulkCase, "greeter": greeterCase}
	if run, known := alone[opts.testCase]; known {
		return run(opts)
	}
	cases := map[string]func(options) ([]seen, error){
		"unary": unaryCase, "stream": streamCase, "many": manyCase,
	}
	run, known := cases[opts.testCase]
	if !known {
		return result{Error: fmt.Sprintf("unknown case %q", opts.testCase)}
	}
	replies, err := run(opts)
	return judge(opts, replies, err)
}

// again keeps one chat open. For each line of stdin it has to answer, and a
// new one is opened: a result for each. It says whether the first one was good.
func again(opts options) bool {
	forever := opts
	forever.deadline = 24 * time.Hour
	held, err := openChat(forever)
	if err != nil {
		report(failure(err))
		return false
	}
	defer held.close()
	reply, err := held.exchange([]byte("still here"))
	first := judge(opts, []seen{reply}, err)
	report(first)
	if !first.OK {
		return false
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		replies, err := useAndOpen(held, opts)
		report(judge(opts, replies, err))
	}
	return true
}

func useAndOpen(held *chatCall, opts options) ([]seen, error) {
	old, err := held.exchange([]byte("still here"))
	if err != nil {
		return nil, fmt.Errorf("the open connection has ended: %v", err)
	}
	chat, err := openChat(opts)
	if err != nil {
		return nil, err
	}
	defer chat.close()
	reply, err := chat.exchange([]byte("new"))
	return []seen{old, reply}, err
}

// reconnect makes a call at once and for each line of stdin, all on one
// channel: a result for each. It says whether the last one was good.
func reconnect(opts options) bool {
	connection, err := open(opts)
	if err != nil {
		report(failure(err))
		return false
	}
	defer connection.Close()
	for lines := bufio.NewScanner(os.Stdin); ; {
		replies, err := askWhoAmI(opts, connection, grpc.WaitForReady(true))
		one := judge(opts, replies, err)
		report(one)
		if !lines.Scan() {
			return one.OK
		}
	}
}

func judge(opts options, replies []seen, err error) result {
	if err != nil {
		return failure(err)
	}
	connections := map[string]bool{}
	for _, reply := range replies {
		if reply.account != opts.expectPeer {
			return result{Error: fmt.Sprintf("the server saw %q", reply.account)}
		}
		connections[reply.connection] = true
	}
	if opts.testCase == "many" && len(connections) != opts.connections {
		return result{Error: fmt.Sprintf("%d connections instead of %d", len(connections), opts.connections)}
	}
	return result{
		OK: true, Peer: opts.expectPeer, Server: replies[0].server, Connections: len(connections),
		Connection: replies[0].connection,
	}
}

func failure(err error) result {
	if rpc, ok := status.FromError(err); ok {
		return result{Code: codeName(rpc.Code()), Error: rpc.Message()}
	}
	return result{Error: err.Error()}
}

// codeName spells a code as the other peers do.
func codeName(code codes.Code) string {
	names := map[codes.Code]string{
		codes.Unavailable: "UNAVAILABLE", codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.Unknown: "UNKNOWN",
		codes.Internal: "INTERNAL", codes.PermissionDenied: "PERMISSION_DENIED", codes.Unauthenticated: "UNAUTHENTICATED",
	}
	if name, listed := names[code]; listed {
		return name
	}
	return code.String()
}

func unaryCase(opts options) ([]seen, error) {
	connection, err := open(opts)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return askWhoAmI(opts, connection)
}

func askWhoAmI(opts options, connection *grpc.ClientConn, more ...grpc.CallOption) ([]seen, error) {
	ctx, cancel := context.WithTimeout(context.Background(), opts.deadline)
	defer cancel()
	var from peer.Peer
	payload, reply := []byte("hello"), []byte(nil)
	if err := connection.Invoke(ctx, whoAmI, &payload, &reply, append(more, grpc.Peer(&from))...); err != nil {
		return nil, err
	}
	one, err := parse(reply, payload)
	if info, notALTS := alts.AuthInfoFromPeer(&from); notALTS == nil {
		one.server = info.PeerServiceAccount()
	}
	return []seen{one}, err
}

func streamCase(opts options) ([]seen, error) {
	call, err := openChat(opts)
	if err != nil {
		return nil, err
	}
	defer call.close()
	var replies []seen
	for _, size := range opts.sizes {
		one, err := call.exchange(bytes.Repeat([]byte{byte(size % 251)}, size))
		if err != nil {
			return nil, err
		}
		replies = append(replies, one)
	}
	return replies, call.finish()
}

// manyCase ends no chat before the last one has been answered, so that all
// connections are up together.
func manyCase(opts options) ([]seen, error) {
	type outcome struct {
		call  *chatCall
		reply seen
		err   error
	}
	outcomes := make(chan outcome)
	for number := range opts.connections {
		go func() {
			call, err := openChat(opts)
			if err != nil {
				outcomes <- outcome{err: err}
				return
			}
			reply, err := call.exchange(fmt.Appendf(nil, "%d", number))
			outcomes <- outcome{call, reply, err}
		}()
	}
	var calls []*chatCall
	var replies []seen
	for range opts.connections {
		got := <-outcomes
		if got.err != nil {
			return nil, got.err
		}
		calls, replies = append(calls, got.call), append(replies, got.reply)
	}
	for _, call := range calls {
		if err := call.finish(); err != nil {
			return nil, err
		}
		call.close()
	}
	return replies, nil
}

// chatCall is one Chat on a connection of its own.
type chatCall struct {
	connection *grpc.ClientConn
	stream     grpc.ClientStream
	cancel     context.CancelFunc
}

func openChat(opts options) (*chatCall, error) {
	connection, err := open(opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), opts.deadline)
	stream, err := connection.NewStream(ctx, &echoService.Streams[0], chat)
	if err != nil {
		cancel()
		_ = connection.Close() // the first error is the one to tell
		return nil, err
	}
	return &chatCall{connection, stream, cancel}, nil
}

func (c *chatCall) exchange(payload []byte) (seen, error) {
	// After EOF from SendMsg, RecvMsg is where the reason comes out.
	if err := c.stream.SendMsg(&payload); err != nil && !errors.Is(err, io.EOF) {
		return seen{}, err
	}
	var reply []byte
	if err := c.stream.RecvMsg(&reply); err != nil {
		return seen{}, err
	}
	return parse(reply, payload)
}

func (c *chatCall) finish() error {
	if err := c.stream.CloseSend(); err != nil {
		return err
	}
	if err := c.stream.RecvMsg(new([]byte)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the chat did not end well: %w", err)
	}
	return nil
}

func (c *chatCall) close() {
	c.cancel()
	_ = c.connection.Close() // the case is over, whatever it says
}

func open(opts options) (*grpc.ClientConn, error) {
	return grpc.NewClient(opts.target,
		grpc.WithTransportCredentials(clientCredentials(opts)),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
}

func parse(reply, payload []byte) (seen, error) {
	one, echoed, err := split(reply)
	if err == nil && !bytes.Equal(echoed, payload) {
		err = fmt.Errorf("%d bytes did not come back as they were", len(payload))
	}
	return one, err
}

func split(reply []byte) (seen, []byte, error) {
	parts := bytes.SplitN(reply, []byte("\n"), 3)
	if len(parts) != 3 {
		return seen{}, nil, fmt.Errorf("%d bytes are no reply", len(reply))
	}
	return seen{account: string(parts[0]), connection: string(parts[1])}, parts[2], nil
}
