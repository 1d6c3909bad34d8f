package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endWith ends streams when the server stops: who watches for as long as the server is there would take up all of its grace.
func endWith(stopping context.Context) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		err := handler(server, &endingStream{stream, ctx})
		if err != nil && stopping.Err() != nil {
			return status.Error(codes.Unavailable, "the server stops: connect again to go on")
		}
		return err
	}
}

// endingStream is a stream whose context may end before that of its connection.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *endingStream) Context() context.Context { return s.ctx }
