// Asks by Java's HttpClient; prints [name, fault or null] for each case.
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

public class Client {
  interface Case { void run() throws Exception; }

  static String base;

  static void test(String name, Case run) {
    String fault = "null";
    try {
      run.run();
    } catch (Throwable e) {
      fault = '"' + e.toString().replaceAll("[\"\\\\\\p{Cntrl}]", " ") + '"';
    }
    System.out.println("[\"" + name + "\", " + fault + "]");
  }

  static void same(Object is, Object wanted) {
    if (!is.equals(wanted)) throw new AssertionError(is + ", not " + wanted);
  }

  static HttpRequest.Builder ask(String path) {
    return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(15)).header("Host", "app.test");
  }

  public static void main(String[] args) throws Exception {
    base = "http://" + args[0];
    for (Version version : Version.values()) {
      HttpClient client = HttpClient.newBuilder().version(version).followRedirects(HttpClient.Redirect.NORMAL).build();
      String way = version + ": ";
      test(way + "GET", () -> same(client.send(ask("/hello").build(), BodyHandlers.ofString()).body(), "hello"));
      test(way + "the upgrade is not taken", () -> same(client.send(ask("/hello").build(), BodyHandlers.ofString()).version(), Version.HTTP_1_1));
      test(way + "HEAD", () -> same(client.send(ask("/hello").method("HEAD", BodyPublishers.noBody()).build(), BodyHandlers.ofString()).body(), ""));
      test(way + "204, then another", () -> {
        same(client.send(ask("/status/204").build(), BodyHandlers.ofString()).statusCode(), 204);
        same(client.send(ask("/hello").build(), BodyHandlers.ofString()).statusCode(), 200);
      });
      test(way + "upload with a length", () -> same(client.send(ask("/digest").POST(BodyPublishers.ofByteArray(new byte[2000000])).build(), BodyHandlers.ofString()).body().contains("2000000"), true));
      test(way + "upload in chunks", () -> same(client.send(ask("/digest").POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(new byte[100000]))).build(), BodyHandlers.ofString()).body().contains("100000"), true));
      test(way + "Expect: 100-continue", () -> same(client.send(ask("/digest").expectContinue(true).POST(BodyPublishers.ofByteArray(new byte[7])).build(), BodyHandlers.ofString()).body().contains("\"size\": 7"), true));
      test(way + "3 MB", () -> same(client.send(ask("/data").build(), BodyHandlers.ofByteArray()).body().length, 3145728));
      test(way + "chunks as lines", () -> same(client.send(ask("/chunks?n=100").build(), BodyHandlers.ofLines()).body().count(), 100L));
      test(way + "redirect", () -> same(client.send(ask("/status/302").build(), BodyHandlers.ofString()).body(), "hello"));
      test(way + "100 at once", () -> {
        var all = new ArrayList<CompletableFuture<HttpResponse<String>>>();
        for (int i = 0; i < 100; i++) all.add(client.sendAsync(ask("/hello").build(), BodyHandlers.ofString()));
        for (var a : all) same(a.get(15, TimeUnit.SECONDS).body(), "hello");
      });
      test(way + "WebSocket", () -> {
        var got = new CompletableFuture<String>();
        WebSocket socket = client.newWebSocketBuilder().subprotocols("chat").buildAsync(URI.create(base.replace("http", "ws") + "/ws"), new WebSocket.Listener() {
          public CompletionStage<?> onText(WebSocket s, CharSequence text, boolean last) { got.complete(text.toString()); return null; }
        }).get(15, TimeUnit.SECONDS);
        socket.sendText("hi", true);
        same(got.get(15, TimeUnit.SECONDS), "hi");
        same(socket.getSubprotocol(), "chat");
        socket.sendClose(WebSocket.NORMAL_CLOSURE, "").get(15, TimeUnit.SECONDS);
      });
    }
    System.exit(0);
  }
}
