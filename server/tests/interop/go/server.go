package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/alts"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

func serve(opts options) error {
	listener, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.Creds(serverCredentials(opts)), grpc.ForceServerCodec(rawCodec{}))
	server.RegisterService(&echoService, nil)
	server.RegisterService(&greeterService, nil)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		server.Stop()
	}()
	report(map[string]string{"ready": listener.Addr().String()})
	return server.Serve(listener)
}

var echoService = grpc.ServiceDesc{
	ServiceName: service,
	Methods:     []grpc.MethodDesc{{MethodName: "WhoAmI", Handler: answerOne}},
	Streams: []grpc.StreamDesc{{
		StreamName: "Chat", Handler: answerAll, ServerStreams: true, ClientStreams: true,
	}},
}

func answerOne(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var payload []byte
	if err := decode(&payload); err != nil {
		return nil, err
	}
	reply := answer(ctx, payload)
	return &reply, showAuthorization(ctx)
}

func answerAll(_ any, stream grpc.ServerStream) error {
	for {
		var payload []byte
		if err := stream.RecvMsg(&payload); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		reply := answer(stream.Context(), payload)
		if err := stream.SendMsg(&reply); err != nil {
			return err
		}
	}
}

func answer(ctx context.Context, payload []byte) []byte {
	account, connection := caller(ctx)
	return append(fmt.Appendf(nil, "%s\n%s\n", account, connection), payload...)
}

func caller(ctx context.Context) (account, connection string) {
	if from, ok := peer.FromContext(ctx); ok {
		connection = from.Addr.String()
	}
	if info, err := alts.AuthInfoFromContext(ctx); err == nil {
		return info.PeerServiceAccount(), connection
	}
	// Plaintext: an Envoy stands in front and tells whom it has authenticated.
	headers, _ := metadata.FromIncomingContext(ctx)
	if values := headers.Get("x-altsd-connection"); len(values) == 1 {
		connection = values[0]
	}
	if values := headers.Get("x-altsd-peer"); len(values) == 1 {
		account = values[0]
	}
	return account, connection
}
