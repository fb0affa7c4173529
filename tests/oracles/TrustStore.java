import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * Tells what Java makes of a trust store. One request a line on standard input, fields separated by "|", one answer a line:
 *
 * <pre>
 * list|type|file|password               SHA-256 of each trusted certificate, ascending, or "error: …"
 * connect|type|file|password|port       "trusted" or "refused" for a TLS connection to localhost, or "error: …"
 * </pre>
 *
 * The password is hex of UTF-8; an empty one means none.
 */
public class TrustStore {
    public static void main(String[] args) throws Exception {
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String[] fields = line.split("\\|", -1);
            String answer;
            try {
                KeyStore store = load(fields[1], fields[2], fields[3]);
                answer = fields[0].equals("list") ? list(store) : connect(store, Integer.parseInt(fields[4]));
            } catch (Exception e) {
                answer = "error: " + e.getMessage();
            }
            System.out.println(answer);
        }
    }

    private static KeyStore load(String type, String file, String hexPassword) throws Exception {
        byte[] password = HexFormat.of().parseHex(hexPassword);
        KeyStore store = KeyStore.getInstance(type);
        try (InputStream input = new FileInputStream(file)) {
            store.load(input, password.length == 0 ? null : new String(password, "UTF-8").toCharArray());
        }
        return store;
    }

    private static String list(KeyStore store) throws Exception {
        List<String> hashes = new ArrayList<>();
        for (String alias : Collections.list(store.aliases())) {
            if (!store.isCertificateEntry(alias)) throw new Exception("not a trusted certificate: " + alias);
            byte[] hash = MessageDigest.getInstance("SHA-256").digest(store.getCertificate(alias).getEncoded());
            String hex = HexFormat.of().formatHex(hash);
            if (!alias.startsWith(hex.substring(0, 8) + "|")) throw new Exception("unexpected alias: " + alias);
            hashes.add(hex);
        }
        Collections.sort(hashes);
        return String.join(",", hashes);
    }

    private static String connect(KeyStore store, int port) throws Exception {
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("localhost", port)) {
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            socket.setSoTimeout(30_000);
            socket.startHandshake();
            return "trusted";
        } catch (SSLHandshakeException e) {
            return e.getMessage().contains("unable to find valid certification path") ? "refused" : "error: " + e.getMessage();
        }
    }
}
