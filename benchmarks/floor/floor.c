/* The C floor: what the server and one thread with plain system calls need, and nothing else.
 *
 *     floor SOCKET_FILE USER DATABASE CASE OPERATIONS
 *
 * Protocol 3.0 over a Unix socket with trust; statements are prepared once, results are binary, rows are counted and
 * their bytes dropped. The SQL texts, row counts and the COPY data are those of benchmarks/cases.py; the caller passes
 * them by environment (FLOOR_SQL, FLOOR_ROWS, FLOOR_IN_FLIGHT), so that they are written down once. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "measure.h"

enum { RECEIVE_BUFFER = 256 * 1024, KEYS = 10000, WARM_UP_MAX = 100 };

/* ---- sending: messages are appended to one buffer, which goes out in one send ---- */

static unsigned char *out;
static size_t out_used, out_room;

static void put(const void *bytes, size_t size) {
    if (out_used + size > out_room) {
        out_room = (out_used + size) * 2;
        out = realloc(out, out_room);
        if (!out) die("memory", "realloc failed");
    }
    memcpy(out + out_used, bytes, size);
    out_used += size;
}

static void put16(int value) {
    unsigned char bytes[2] = {(unsigned char)(value >> 8), (unsigned char)value};
    put(bytes, 2);
}

static void put32(int32_t value) {
    uint32_t v = (uint32_t)value;
    unsigned char bytes[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
    put(bytes, 4);
}

static void put64(uint64_t value) {
    put32((int32_t)(value >> 32));
    put32((int32_t)value);
}

static void put_text(const char *text) { put(text, strlen(text) + 1); }

static size_t begin_message(char kind) {
    if (kind) put(&kind, 1);
    put32(0);
    return out_used - 4;
}

static void end_message(size_t at) {
    uint32_t size = (uint32_t)(out_used - at);
    out[at] = (unsigned char)(size >> 24), out[at + 1] = (unsigned char)(size >> 16);
    out[at + 2] = (unsigned char)(size >> 8), out[at + 3] = (unsigned char)size;
}

static void put_sync(void) { end_message(begin_message('S')); }

static void put_parse(const char *sql, int parameters) {
    size_t at = begin_message('P');
    put_text("s");
    put_text(sql);
    put16(parameters);
    for (int i = 0; i < parameters; i++) put32(23); /* int4 */
    end_message(at);
}

static void put_bind_execute(int parameters, int32_t key) {
    size_t at = begin_message('B');
    put_text("");
    put_text("s");
    put16(1), put16(1); /* all parameters binary */
    put16(parameters);
    if (parameters) put32(4), put32(key);
    put16(1), put16(1); /* all results binary */
    end_message(at);
    at = begin_message('E');
    put_text("");
    put32(0);
    end_message(at);
}

/* ---- receiving: frames are walked, bodies dropped ---- */

static int fd;
static unsigned char in[RECEIVE_BUFFER];
static unsigned char header[5];
static size_t header_have, body_left;
static long rows, ready, copy_ready, completed;

static void walk(const unsigned char *at, size_t size) {
    while (size) {
        if (body_left) {
            size_t step = body_left < size ? body_left : size;
            at += step, size -= step, body_left -= step;
            continue;
        }
        if (header_have == 0 && size >= 5) {
            memcpy(header, at, 5);
            at += 5, size -= 5;
        } else {
            header[header_have++] = *at++, size--;
            if (header_have < 5) continue;
        }
        header_have = 0;
        uint32_t length = (uint32_t)header[1] << 24 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 8 | header[4];
        if (length < 4) die("protocol", "length below 4");
        body_left = length - 4;
        switch (header[0]) {
        case 'D': rows++; break;
        case 'Z': ready++; break;
        case 'C': completed++; break;
        case 'G': copy_ready++; break;
        case 'E': die("server", size ? (const char *)at : "error");
        }
    }
}

static void receive_some(void) {
    ssize_t got = recv(fd, in, sizeof in, 0);
    if (got <= 0) die("recv", got ? strerror(errno) : "server closed the connection");
    walk(in, (size_t)got);
}

static void flush(void) {
    size_t sent = 0;
    while (sent < out_used) {
        ssize_t step = send(fd, out + sent, out_used - sent, MSG_NOSIGNAL);
        if (step < 0) die("send", strerror(errno));
        sent += (size_t)step;
    }
    out_used = 0;
}

/* Large sends: read what the server answers meanwhile, so that neither side waits for the other for ever. */
static void flush_and_receive(void) {
    size_t sent = 0;
    while (sent < out_used) {
        struct pollfd waiting = {fd, POLLIN | POLLOUT, 0};
        if (poll(&waiting, 1, -1) < 0) die("poll", strerror(errno));
        if (waiting.revents & POLLOUT) {
            ssize_t step = send(fd, out + sent, out_used - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (step < 0 && errno != EAGAIN) die("send", strerror(errno));
            if (step > 0) sent += (size_t)step;
        }
        if (waiting.revents & (POLLIN | POLLHUP)) receive_some();
    }
    out_used = 0;
}

static void until_ready(long count) {
    while (ready < count) receive_some();
    ready -= count;
}

static void start_up(const char *path, const char *user, const char *database) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) die("socket path too long", path);
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die(path, strerror(errno));
    size_t at = begin_message(0);
    put32(196608);
    put_text("user"), put_text(user);
    put_text("database"), put_text(database);
    put("", 1);
    end_message(at);
    flush();
    until_ready(1);
}

/* ---- the cases ---- */

static int32_t key_of(long i) { return (int32_t)(i * 7919 % KEYS) + 1; }

static void sequential(long operations, int parameters) {
    for (long i = 0; i < operations; i++) {
        put_bind_execute(parameters, key_of(i));
        put_sync();
        flush();
        until_ready(1);
    }
}

/* `window` requests in flight, each with its own Sync; as answers come in, as many requests go out. */
static void in_flight(long operations, long window) {
    long asked = 0, answered = 0;
    while (answered < operations) {
        for (; asked < operations && asked - answered < window; asked++) {
            put_bind_execute(1, key_of(asked));
            put_sync();
        }
        flush();
        receive_some();
        answered += ready;
        ready = 0;
    }
}

static void batches(long operations, long size) {
    for (long done = 0; done < operations; done += size) {
        for (long i = done; i < done + size; i++) put_bind_execute(1, key_of(i));
        put_sync();
        flush_and_receive();
        until_ready(1);
    }
}

/* The binary COPY stream of cases.copy_rows(): int4, text, float8, timestamptz. */
static void put_copy_stream(long count) {
    put("PGCOPY\n\377\r\n", 11); /* the string's own final NUL is the eleventh byte */
    put32(0), put32(0);
    for (int32_t i = 0; i < count; i++) {
        char text[32];
        int length = snprintf(text, sizeof text, "name-%011d", i % 1000);
        double value = i * 0.5;
        uint64_t bits;
        memcpy(&bits, &value, 8);
        put16(4);
        put32(4), put32(i);
        put32(length), put(text, (size_t)length);
        put32(8), put64(bits);
        put32(8), put64(((uint64_t)7305 * 86400 + (uint64_t)(i % 1000)) * 1000000); /* 2020-01-01 + seconds */
    }
    put16(-1);
}

static void simple_query(const char *sql) {
    size_t at = begin_message('Q');
    put_text(sql);
    end_message(at);
}

static void copy_in(const char *sql, const unsigned char *stream, size_t size) {
    simple_query(sql);
    flush();
    while (!copy_ready) receive_some();
    copy_ready = 0;
    for (size_t done = 0; done < size;) {
        size_t step = size - done < 65536 ? size - done : 65536;
        size_t at = begin_message('d');
        put(stream + done, step);
        end_message(at);
        flush();
        done += step;
    }
    end_message(begin_message('c'));
    flush();
    until_ready(1);
}

/* data.written(): the INSERT's rows, bound one by one to a statement that is prepared already; one Sync. */
static void put_inserts(long count) {
    for (int32_t i = 0; i < count; i++) {
        char text[32];
        int length = snprintf(text, sizeof text, "name-%011d", i % 1000);
        double value = i * 0.5;
        uint64_t bits;
        memcpy(&bits, &value, 8);
        size_t at = begin_message('B');
        put_text(""), put_text("s");
        put16(1), put16(1); /* all parameters binary */
        put16(3);
        put32(4), put32(i);
        put32(length), put(text, (size_t)length);
        put32(8), put64(bits);
        put16(0);
        end_message(at);
        at = begin_message('E');
        put_text("");
        put32(0);
        end_message(at);
    }
    put_sync();
}

static void execute_many(const char *sql, long count, long operations) {
    size_t at = begin_message('P');
    put_text("s");
    put_text(sql);
    put16(0); /* the server says int4, text, float8 */
    end_message(at);
    put_sync();
    flush();
    until_ready(1);
    double wall = 0, cpu = 0;
    for (long i = -1; i < operations; i++) { /* the first one warms up */
        simple_query("truncate bench_write");
        flush();
        until_ready(1);
        Clock start = clock_now();
        put_inserts(count);
        flush_and_receive();
        until_ready(1);
        Clock end = clock_now();
        if (completed != count + 1) die("wrong answer", "number of inserts"); /* and TRUNCATE's */
        completed = 0;
        if (i >= 0) wall += end.wall - start.wall, cpu += end.cpu - start.cpu;
    }
    Clock now = clock_now(), start = {now.wall - wall, now.cpu - cpu};
    print_result(start, operations);
}

static long setting(const char *name) {
    const char *text = getenv(name);
    if (!text) die("missing in the environment", name);
    return atol(text);
}

int main(int count, char **words) {
    if (count != 6) die("usage", "floor SOCKET_FILE USER DATABASE CASE OPERATIONS");
    const char *which = words[4], *sql = getenv("FLOOR_SQL");
    long operations = atol(words[5]), rows_each = setting("FLOOR_ROWS"), window = setting("FLOOR_IN_FLIGHT");
    if (!sql || operations < 1) die("usage", "FLOOR_SQL and OPERATIONS");
    start_up(words[1], words[2], words[3]);

    if (!strcmp(which, "copyin")) {
        put_copy_stream(rows_each);
        unsigned char *stream = out;
        size_t size = out_used;
        out = NULL, out_used = out_room = 0;
        double wall = 0, cpu = 0;
        for (long i = -1; i < operations; i++) { /* the first one warms up */
            simple_query("truncate bench_copy");
            flush();
            until_ready(1);
            Clock start = clock_now();
            copy_in(sql, stream, size);
            Clock end = clock_now();
            if (i >= 0) wall += end.wall - start.wall, cpu += end.cpu - start.cpu;
        }
        Clock now = clock_now(), start = {now.wall - wall, now.cpu - cpu};
        print_result(start, operations);
        return 0;
    }

    if (!strcmp(which, "execute_many")) {
        execute_many(sql, rows_each, operations);
        return 0;
    }

    int parameters = strstr(sql, "$1") != NULL;
    put_parse(sql, parameters);
    put_sync();
    flush();
    until_ready(1);

    long warm_up = rows_each > 1 ? 2 : WARM_UP_MAX;
    sequential(warm_up, parameters);
    if (rows != warm_up * rows_each) die("wrong answer", "number of rows in the warm-up");
    rows = 0;

    Clock start = clock_now();
    if (!strcmp(which, "sequential")) sequential(operations, parameters);
    else if (!strcmp(which, "in_flight")) in_flight(operations, window);
    else if (!strcmp(which, "batch")) batches(operations, window);
    else die("no such case", which);
    if (rows != operations * rows_each) die("wrong answer", "number of rows");
    print_result(start, operations);
    return 0;
}
