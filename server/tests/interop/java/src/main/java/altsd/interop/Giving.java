package altsd.interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Random;

/** As many large messages as were asked for, no faster than they are taken, and what their hash is. */
final class Giving {
  private final ServerCallStreamObserver<byte[]> replies;
  private final int count;
  private final byte[] content = new byte[Bulk.MESSAGE_BYTES];
  private final MessageDigest given;
  private int number;

  static void start(byte[] count, StreamObserver<byte[]> replies) {
    try {
      ServerCallStreamObserver<byte[]> ready = (ServerCallStreamObserver<byte[]>) replies;
      Giving giving = new Giving(ready, Integer.parseInt(new String(count, UTF_8)));
      ready.setOnReadyHandler(giving::more);
    } catch (NoSuchAlgorithmException e) {
      replies.onError(e);
    }
  }

  private Giving(ServerCallStreamObserver<byte[]> replies, int count)
      throws NoSuchAlgorithmException {
    this.replies = replies;
    this.count = count;
    given = MessageDigest.getInstance("SHA-256");
    new Random().nextBytes(content);
  }

  private void more() {
    while (number < count && replies.isReady()) {
      byte[] message = Bulk.numbered(content, number++);
      given.update(message);
      replies.onNext(message);
      if (number == count) {
        replies.onNext(HexFormat.of().formatHex(given.digest()).getBytes(UTF_8));
        replies.onCompleted();
      }
    }
  }
}
