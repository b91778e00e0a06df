import com.starrocks.connector.flink.connection.StarRocksJdbcConnectionOptions;
import com.starrocks.connector.flink.connection.StarRocksJdbcConnectionProvider;
import com.starrocks.connector.flink.manager.StarRocksQueryVisitor;
import com.starrocks.connector.flink.table.sink.ExactlyOnceLabelGeneratorFactory;
import com.starrocks.connector.flink.table.sink.LingeringTransactionAborter;
import com.starrocks.data.load.stream.DefaultStreamLoadManager;
import com.starrocks.data.load.stream.StreamLoadDataFormat;
import com.starrocks.data.load.stream.StreamLoadManager;
import com.starrocks.data.load.stream.StreamLoadResponse;
import com.starrocks.data.load.stream.StreamLoadSnapshot;
import com.starrocks.data.load.stream.StreamLoadUtils;
import com.starrocks.data.load.stream.StreamLoader;
import com.starrocks.data.load.stream.properties.StreamLoadProperties;
import com.starrocks.data.load.stream.properties.StreamLoadTableProperties;
import com.starrocks.data.load.stream.v2.StreamLoadManagerV2;
import com.starrocks.streamload.shade.com.fasterxml.jackson.annotation.JsonAutoDetect;
import com.starrocks.streamload.shade.com.fasterxml.jackson.annotation.PropertyAccessor;
import com.starrocks.streamload.shade.com.fasterxml.jackson.databind.JsonNode;
import com.starrocks.streamload.shade.com.fasterxml.jackson.databind.ObjectMapper;
import com.starrocks.streamload.shade.com.fasterxml.jackson.databind.node.ArrayNode;
import com.starrocks.streamload.shade.com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.java.tuple.Tuple2;

/**
 * Drives StarRocks' Stream Load SDK: a line of JSON in says what to call ("do") and with what, a line of JSON out says what came
 * of it: the fields of the result, or "error", the messages of the exception and its causes.
 */
public final class Driver {
    private static final ObjectMapper JSON =
            new ObjectMapper().setVisibility(PropertyAccessor.FIELD, JsonAutoDetect.Visibility.ANY);

    private static final long CHUNK_BYTES = 90L << 20;

    private final List<StreamLoadResponse> responses = new ArrayList<>();
    private final Map<String, StreamLoadSnapshot> snapshots = new HashMap<>();
    private StreamLoadManager manager;
    private ExactlyOnceLabelGeneratorFactory labels;
    private StarRocksJdbcConnectionProvider jdbc;

    public static void main(String[] given) throws Exception {
        Driver driver = new Driver();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode result = JSON.createObjectNode();
            try {
                driver.call(JSON.readTree(line), result);
            } catch (Throwable error) {
                StringBuilder messages = new StringBuilder();
                for (Throwable each = error; each != null; each = each.getCause()) {
                    messages.append(each.getClass().getSimpleName()).append(": ").append(each.getMessage()).append('\n');
                }
                result.put("error", messages.toString());
            }
            System.out.write((JSON.writeValueAsString(result) + "\n").getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        }
        // The SDK's threads may still be retrying: they end with this process.
        System.exit(0);
    }

    private void call(JsonNode with, ObjectNode result) throws Exception {
        switch (text(with, "do")) {
            case "supports":
                // What the connector asks under sink.version=AUTO.
                result.put("supported", StreamLoadUtils.isStarRocksSupportTransactionLoad(
                        strings(with.get("urls")), 5000, text(with, "user"), text(with, "password")));
                break;
            case "open":
                open(with);
                break;
            case "write":
                manager.write(null, text(with, "database"), text(with, "table"), strings(with.get("rows")).toArray(new String[0]));
                break;
            case "flush":
                manager.flush();
                break;
            case "snapshot": {
                StreamLoadSnapshot snapshot = manager.snapshot();
                snapshots.put(snapshot.getId(), snapshot);
                result.put("id", snapshot.getId());
                ArrayNode found = result.putArray("labels");
                snapshot.getTransactions().forEach(each -> found.add(each.getLabel()));
                break;
            }
            case "prepare":
                result.put("done", manager.prepare(snapshots.get(text(with, "id"))));
                break;
            case "commit":
                result.put("done", manager.commit(snapshots.get(text(with, "id"))));
                break;
            case "abort":
                result.put("done", manager.abort(snapshots.get(text(with, "id"))));
                break;
            case "prepare_label":
                result.put("done", loader().prepare(transaction(with)));
                break;
            case "commit_label":
                result.put("done", loader().commit(transaction(with)));
                break;
            case "rollback_label":
                result.put("done", loader().rollback(transaction(with)));
                break;
            case "state":
                result.put("state",
                        loader().getLoadStatus(text(with, "database"), text(with, "table"), text(with, "label")).name());
                break;
            case "abort_lingering":
                // What the connector does on restart from checkpoint 0: labels PREFIX-TABLE-0-1, -2, ... until one needs nothing.
                new LingeringTransactionAborter(text(with, "prefix"), 0, 0, -1,
                        List.of(Tuple2.of(text(with, "database"), text(with, "table"))), List.of(), loader()).execute();
                break;
            case "responses": {
                ArrayNode all = result.putArray("bodies");
                synchronized (responses) {
                    responses.forEach(each -> all.addPOJO(each.getBody()));
                    responses.clear();
                }
                break;
            }
            case "close":
                manager.close();
                manager = null;
                break;
            case "jdbc":
                if (jdbc != null) {
                    jdbc.close();
                }
                jdbc = new StarRocksJdbcConnectionProvider(
                        new StarRocksJdbcConnectionOptions(text(with, "url"), text(with, "user"), text(with, "password")));
                result.put("driver", jdbc.getConnection().getMetaData().getDriverVersion());
                break;
            case "version":
                result.put("version", new StarRocksQueryVisitor(jdbc, "", "").getStarRocksVersion());
                break;
            case "columns": {
                StarRocksQueryVisitor visitor = new StarRocksQueryVisitor(jdbc, text(with, "database"), text(with, "table"));
                result.putPOJO("columns", visitor.getTableColumnsMetaData());
                ObjectNode types = result.putObject("types");
                visitor.getFieldMapping().forEach((name, type) -> types.put(name, type.name()));
                break;
            }
            case "count":
                result.put("count", new StarRocksQueryVisitor(jdbc, "", "").getQueryCount(text(with, "sql")));
                break;
            case "sql":
                sql(with, result);
                break;
            default:
                throw new IllegalArgumentException("do: " + with.get("do"));
        }
    }

    /** "manager" v1 is DefaultStreamLoadManager, v2 StreamLoadManagerV2; "transaction" chooses between their two loaders. */
    private void open(JsonNode with) {
        String delimiter = text(with, "row_delimiter");
        StreamLoadTableProperties.Builder table = StreamLoadTableProperties.builder()
                .database(text(with, "database"))
                .table(text(with, "table"))
                .streamLoadDataFormat(delimiter == null ? StreamLoadDataFormat.JSON : new StreamLoadDataFormat.CSVFormat(delimiter))
                .enableUpsertDelete(true)
                .chunkLimit(with.path("chunk_bytes").asLong(CHUNK_BYTES))
                .maxBufferRows(500_000);
        if (with.has("columns")) {
            table.columns(text(with, "columns"));
        }
        // The connector hands sink.properties.* to both: the one for compression, the other for the headers.
        Map<String, String> given = map(with.get("properties"));
        table.addCommonProperties(given);
        StreamLoadProperties.Builder properties = StreamLoadProperties.builder()
                .loadUrls(strings(with.get("urls")).toArray(new String[0]))
                .username(text(with, "user"))
                .password(text(with, "password"))
                .version(text(with, "version"))
                .labelPrefix(text(with, "prefix"))
                .defaultTableProperties(table.build())
                .addHeaders(given)
                .ioThreadCount(2)
                .connectTimeout(5000)
                .waitForContinueTimeoutMs(3000)
                .maxRetries(with.path("retries").asInt(0))
                .retryIntervalInMs(100)
                // Nothing is sent before it is asked for.
                .expectDelayTime(3600_000);
        if (with.path("transaction").asBoolean()) {
            properties.enableTransaction();
        }
        responses.clear();
        if (text(with, "manager").equals("v1")) {
            manager = new DefaultStreamLoadManager(properties.build()) {
                @Override
                public void callback(StreamLoadResponse response) {
                    keep(response);
                    super.callback(response);
                }
            };
        } else {
            boolean exactlyOnce = with.path("exactly_once").asBoolean();
            StreamLoadManagerV2 v2 = new StreamLoadManagerV2(properties.build(), !exactlyOnce);
            v2.setStreamLoadListener(this::keep);
            if (exactlyOnce) {
                labels = new ExactlyOnceLabelGeneratorFactory(text(with, "prefix"), 1, 0, 0);
                labels.restore(List.of());
                v2.setLabelGeneratorFactory(labels);
            }
            manager = v2;
        }
        manager.init();
    }

    private void sql(JsonNode with, ObjectNode result) throws Exception {
        try (Connection connection = DriverManager.getConnection(text(with, "url"), text(with, "user"), text(with, "password"));
                Statement statement = connection.createStatement()) {
            ArrayNode rows = result.putArray("rows");
            if (statement.execute(text(with, "sql"))) {
                ResultSet found = statement.getResultSet();
                int width = found.getMetaData().getColumnCount();
                while (found.next()) {
                    ArrayNode row = rows.addArray();
                    for (int i = 1; i <= width; i++) {
                        row.add(found.getString(i));
                    }
                }
            }
        }
    }

    private void keep(StreamLoadResponse response) {
        synchronized (responses) {
            responses.add(response);
        }
    }

    private StreamLoader loader() {
        return ((StreamLoadManagerV2) manager).getStreamLoader();
    }

    private static StreamLoadSnapshot.Transaction transaction(JsonNode with) {
        return new StreamLoadSnapshot.Transaction(text(with, "database"), text(with, "table"), text(with, "label"));
    }

    private static String text(JsonNode node, String name) {
        return node.hasNonNull(name) ? node.get(name).asText() : null;
    }

    private static List<String> strings(JsonNode node) {
        List<String> all = new ArrayList<>();
        node.forEach(each -> all.add(each.asText()));
        return all;
    }

    private static Map<String, String> map(JsonNode node) {
        Map<String, String> all = new HashMap<>();
        for (Iterator<String> names = node.fieldNames(); names.hasNext();) {
            String name = names.next();
            all.put(name, node.get(name).asText());
        }
        return all;
    }
}
