import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main methods of Kafka's tools one after the other in one JVM, because starting a JVM costs more than most
 * tools do. One line in: class, standard input, arguments (base64 all but the first). One line out: exit code,
 * standard output, standard error.
 */
public class CliServer {
    private static final class Exited extends RuntimeException {
        final int code;

        Exited(int code) {
            super(null, null, false, false);
            this.code = code;
        }
    }

    public static void main(String[] ignored) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = System.out;
        Exit.setExitProcedure((code, message) -> {
            if (message != null) {
                System.err.println(message);
            }
            throw new Exited(code);
        });
        Exit.setHaltProcedure((code, message) -> {
            throw new Exited(code);
        });
        List<Runnable> hooks = new ArrayList<>();
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        for (String line; (line = commands.readLine()) != null; ) {
            String[] words = line.split(" ");
            String[] arguments = new String[words.length - 2];
            for (int i = 0; i < arguments.length; i++) {
                arguments[i] = decode(words[i + 2]);
            }
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteArrayOutputStream err = new ByteArrayOutputStream();
            System.setIn(new ByteArrayInputStream(decode(words[1]).getBytes(StandardCharsets.UTF_8)));
            System.setOut(new PrintStream(out, true, "UTF-8"));
            System.setErr(new PrintStream(err, true, "UTF-8"));
            int code = run(words[0], arguments);
            for (Runnable hook : hooks) {
                try {
                    hook.run();
                } catch (Exited exited) {
                    // The tool has ended already.
                }
            }
            hooks.clear();
            System.out.flush();
            System.err.flush();
            answers.println(code + " " + encode(out) + " " + encode(err));
            answers.flush();
        }
    }

    private static int run(String name, String[] arguments) {
        try {
            Class<?> tool = Class.forName(name);
            forget(tool, "messageCount");
            tool.getMethod("main", String[].class).invoke(null, (Object) arguments);
            return 0;
        } catch (InvocationTargetException thrown) {
            Throwable cause = thrown.getCause();
            if (cause instanceof Exited) {
                return ((Exited) cause).code;
            }
            StringWriter text = new StringWriter();
            cause.printStackTrace(new PrintWriter(text));
            System.err.print(text);
            return 1;
        } catch (ReflectiveOperationException e) {
            System.err.println(e);
            return 127;
        }
    }

    /** The console consumer counts in a static field. */
    private static void forget(Class<?> tool, String counter) throws ReflectiveOperationException {
        for (Field field : tool.getDeclaredFields()) {
            if (field.getName().equals(counter)) {
                field.setAccessible(true);
                field.setInt(null, 0);
            }
        }
    }

    private static String decode(String word) {
        return new String(Base64.getDecoder().decode(word), StandardCharsets.UTF_8);
    }

    private static String encode(ByteArrayOutputStream bytes) {
        return Base64.getEncoder().encodeToString(bytes.toByteArray());
    }
}
