import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** A thread a connection: what comes is sent back. */
public class EchoServer {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        ServerSocket listener = new ServerSocket(port, 2000, InetAddress.getByName("127.0.0.1"));
        while (true) {
            Socket socket = listener.accept();
            socket.setTcpNoDelay(true);
            new Thread(() -> echo(socket)).start();
        }
    }

    private static void echo(Socket socket) {
        try (socket) {
            byte[] buffer = new byte[4096];
            int count;
            while ((count = socket.getInputStream().read(buffer)) > 0) {
                socket.getOutputStream().write(buffer, 0, count);
            }
        } catch (java.io.IOException gone) {
            // The client has closed it.
        }
    }
}
