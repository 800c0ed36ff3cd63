package main

import (
	"context"

	"google.golang.org/grpc"
)

// The greeter of gRPC's documentation. Both messages have one field, number
// 1, a short string.
var greeterService = grpc.ServiceDesc{
	ServiceName: "helloworld.Greeter",
	Methods:     []grpc.MethodDesc{{MethodName: "SayHello", Handler: greet}},
}

func greet(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var request []byte
	if err := decode(&request); err != nil {
		return nil, err
	}
	greeting := hello("Hello " + string(request[min(2, len(request)):]))
	return &greeting, nil
}

func hello(text string) []byte {
	return append([]byte{0x0a, byte(len(text))}, text...)
}

// greeterCase makes one call; the server does not tell whom it has greeted.
func greeterCase(opts options) result {
	connection, err := open(opts)
	if err != nil {
		return failure(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), opts.deadline)
	defer cancel()
	request, reply := hello("world"), []byte(nil)
	if err := connection.Invoke(ctx, "/helloworld.Greeter/SayHello", &request, &reply); err != nil {
		return failure(err)
	}
	return result{OK: true, Greeting: string(reply[min(2, len(reply)):])}
}
