package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/sts"
	"google.golang.org/grpc/metadata"
)

// shown is the header in which the server tells what it was shown in `authorization`.
const shown = "x-altsd-shown"

// tokenCall makes one call that carries a token, which grpc-go gets in
// exchange for the one in a file.
func tokenCall(opts options) result {
	header, err := callWithToken(opts)
	if err != nil {
		return failure(err)
	}
	values := header.Get(shown)
	if len(values) != 1 {
		return result{Error: fmt.Sprintf("the server was shown %d tokens", len(values))}
	}
	return result{OK: true, Authorization: values[0]}
}

func callWithToken(opts options) (metadata.MD, error) {
	perCall, err := sts.NewCredentials(sts.Options{
		TokenExchangeServiceURI: opts.tokenExchange,
		Audience:                opts.audience,
		SubjectTokenPath:        opts.subjectToken,
		SubjectTokenType:        "urn:ietf:params:oauth:token-type:jwt",
	})
	if err != nil {
		return nil, err
	}
	connection, err := open(opts)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), opts.deadline)
	defer cancel()
	var header metadata.MD
	payload, reply := []byte("hello"), []byte(nil)
	err = connection.Invoke(ctx, whoAmI, &payload, &reply, grpc.PerRPCCredentials(perCall), grpc.Header(&header))
	return header, err
}

// showAuthorization tells the client what it has shown.
func showAuthorization(ctx context.Context) error {
	headers, _ := metadata.FromIncomingContext(ctx)
	if values := headers.Get("authorization"); len(values) > 0 {
		return grpc.SetHeader(ctx, metadata.MD{shown: values})
	}
	return nil
}
