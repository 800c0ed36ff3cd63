package altsd.interop;

import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** One Chat call on a channel of its own; a reply is awaited for every message sent. */
final class Chat {
  private record Event(byte[] reply, Throwable error) {
    static final Event END = new Event(null, null);
  }

  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final ManagedChannel channel;
  private final ClientCall<byte[], byte[]> call;
  private final StreamObserver<byte[]> requests;

  Chat(Options options, ChannelCredentials credentials) {
    channel = EchoClient.open(options, credentials);
    call = channel.newCall(Echo.CHAT, EchoClient.callOptions(options));
    requests = ClientCalls.asyncBidiStreamingCall(call, new Collector());
  }

  void send(byte[] payload) {
    requests.onNext(payload);
  }

  Reply receive(byte[] payload) throws InterruptedException {
    return parse(receive(), payload);
  }

  Reply parse(byte[] reply, byte[] payload) {
    return Reply.parse(reply, payload, call);
  }

  byte[] receive() throws InterruptedException {
    Event event = next();
    if (event == Event.END) {
      throw new IllegalStateException("the server ended the chat early");
    }
    return event.reply;
  }

  void finish() throws InterruptedException {
    requests.onCompleted();
    if (next() != Event.END) {
      throw new IllegalStateException("the server said more than it was asked");
    }
    channel.shutdownNow();
  }

  /** Ends at the deadline of the call at the latest: it delivers an error then. */
  private Event next() throws InterruptedException {
    Event event = events.take();
    if (event.error != null) {
      throw Status.fromThrowable(event.error).asRuntimeException();
    }
    return event;
  }

  private final class Collector implements StreamObserver<byte[]> {
    @Override
    public void onNext(byte[] reply) {
      events.add(new Event(reply, null));
    }

    @Override
    public void onError(Throwable error) {
      events.add(new Event(null, error));
    }

    @Override
    public void onCompleted() {
      events.add(Event.END);
    }
  }
}
