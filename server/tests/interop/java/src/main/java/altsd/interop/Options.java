package altsd.interop;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** The command line, the same for the peers of all languages. */
record Options(
    String listen,
    String target,
    String handshaker,
    String testCase,
    String expectPeer,
    List<String> serviceAccounts,
    int connections,
    int messages,
    int[] sizes,
    double deadlineSeconds) {

  private static final String CHAT_SIZES = "1,1000,20000,300000,3000000";

  Options withDeadline(double seconds) {
    return new Options(
        listen,
        target,
        handshaker,
        testCase,
        expectPeer,
        serviceAccounts,
        connections,
        messages,
        sizes,
        seconds);
  }

  static Options parse(List<String> arguments) {
    Map<String, String> values = new HashMap<>();
    List<String> serviceAccounts = new ArrayList<>();
    for (int i = 0; i + 1 < arguments.size(); i += 2) {
      if (arguments.get(i).equals("--service-account")) {
        serviceAccounts.add(arguments.get(i + 1));
      } else {
        values.put(arguments.get(i), arguments.get(i + 1));
      }
    }
    return new Options(
        values.get("--listen"),
        values.get("--target"),
        values.get("--handshaker"),
        values.get("--case"),
        values.get("--expect-peer"),
        serviceAccounts,
        Integer.parseInt(values.getOrDefault("--connections", "100")),
        Integer.parseInt(values.getOrDefault("--messages", "100")),
        Stream.of(values.getOrDefault("--sizes", CHAT_SIZES).split(","))
            .mapToInt(Integer::parseInt)
            .toArray(),
        Double.parseDouble(values.getOrDefault("--deadline", "15")));
  }
}
