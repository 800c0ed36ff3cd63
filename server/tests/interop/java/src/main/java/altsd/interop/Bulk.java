package altsd.interop;

import io.grpc.ChannelCredentials;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;

/** Large messages there and back on one chat, some of them under way at any time. */
final class Bulk {
  static final int MESSAGE_BYTES = 1_000_000;
  private static final int AHEAD = 4;

  private Bulk() {}

  static Result run(Options options, ChannelCredentials credentials)
      throws InterruptedException, NoSuchAlgorithmException {
    MessageDigest sent = MessageDigest.getInstance("SHA-256");
    MessageDigest received = MessageDigest.getInstance("SHA-256");
    byte[] content = new byte[MESSAGE_BYTES];
    new Random().nextBytes(content);
    Chat chat = new Chat(options, credentials);
    List<Reply> replies = new ArrayList<>();
    for (int number = 0; number < options.messages() + AHEAD; number++) {
      if (number < options.messages()) {
        byte[] message = numbered(content, number);
        sent.update(message);
        chat.send(message);
      }
      if (number >= AHEAD) {
        byte[] reply = chat.receive();
        int start = reply.length - MESSAGE_BYTES;
        received.update(reply, start, MESSAGE_BYTES);
        replies.add(chat.parse(reply, Arrays.copyOfRange(reply, start, reply.length)));
      }
    }
    chat.finish();
    byte[] hash = received.digest();
    if (!Arrays.equals(sent.digest(), hash)) {
      return Result.failure("", "what came back is not what was sent");
    }
    long bytes = (long) MESSAGE_BYTES * options.messages();
    return EchoClient.judge(options, replies).withBulk(bytes, HexFormat.of().formatHex(hash));
  }

  /** A message that is like no other of its call. */
  static byte[] numbered(byte[] content, int number) {
    byte[] message = content.clone();
    ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN).putLong(number);
    return message;
  }
}
