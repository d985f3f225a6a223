/* libpq, blocking: the comparison for the blocking API and for COPY out.
 *
 *     libpq CONNINFO sequential OPERATIONS      with FLOOR_SQL in the environment
 *     libpq CONNINFO copyout OPERATIONS         with FLOOR_SQL and FLOOR_ROWS
 *
 * sequential: one prepared statement, binary parameter and result, PQexecPrepared, every value read.
 * copyout: PQgetCopyData until there is no more, its bytes counted. */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <string.h>

#include "measure.h"

enum { KEYS = 10000, WARM_UP = 100 };

static long touched;

static void run(PGconn *db, int parameters, long operations) {
    static const int binary[] = {1}, sizes[] = {4};
    for (long i = 0; i < operations; i++) {
        uint32_t key = htonl((uint32_t)(i * 7919 % KEYS) + 1);
        const char *values[] = {(const char *)&key};
        PGresult *result = PQexecPrepared(db, "s", parameters, values, sizes, binary, 1);
        if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) die("libpq", PQerrorMessage(db));
        if (parameters && memcmp(PQgetvalue(result, 0, 0), &key, 4) != 0) die("wrong answer", "id");
        for (int column = 0; column < PQnfields(result); column++) touched += *PQgetvalue(result, 0, column);
        PQclear(result);
    }
}

static long copy_out(PGconn *db, const char *sql, long operations) {
    long size = 0;
    for (long i = 0; i < operations; i++) {
        PGresult *result = PQexec(db, sql);
        if (PQresultStatus(result) != PGRES_COPY_OUT) die("libpq", PQerrorMessage(db));
        PQclear(result);
        char *block;
        int got;
        while ((got = PQgetCopyData(db, &block, 0)) > 0) {
            size += got;
            touched += *block;
            PQfreemem(block);
        }
        if (got != -1) die("libpq", PQerrorMessage(db));
        while ((result = PQgetResult(db))) {
            if (PQresultStatus(result) != PGRES_COMMAND_OK) die("libpq", PQerrorMessage(db));
            PQclear(result);
        }
    }
    return size;
}

int main(int count, char **words) {
    const char *sql = getenv("FLOOR_SQL");
    if (count != 4 || !sql) die("usage", "libpq CONNINFO CASE OPERATIONS, and FLOOR_SQL");
    long operations = atol(words[3]);
    PGconn *db = PQconnectdb(words[1]);
    if (PQstatus(db) != CONNECTION_OK) die("libpq", PQerrorMessage(db));
    Clock start = clock_now();
    if (!strcmp(words[2], "copyout")) {
        const char *rows = getenv("FLOOR_ROWS");
        long expected = 21 + (rows ? atol(rows) : 0) * 34; /* four int4 a row */
        if (copy_out(db, sql, 1) != expected) die("wrong answer", "bytes copied in the warm-up");
        start = clock_now();
        if (copy_out(db, sql, operations) != operations * expected) die("wrong answer", "bytes copied");
    } else if (!strcmp(words[2], "sequential")) {
        int parameters = strstr(sql, "$1") != NULL;
        static const Oid types[] = {23};
        PGresult *prepared = PQprepare(db, "s", sql, parameters, types);
        if (PQresultStatus(prepared) != PGRES_COMMAND_OK) die("libpq", PQerrorMessage(db));
        PQclear(prepared);
        run(db, parameters, WARM_UP);
        start = clock_now();
        run(db, parameters, operations);
    } else {
        die("no such case", words[2]);
    }
    print_result(start, operations);
    PQfinish(db);
    return touched < 0 && touched == 1; /* keeps the reads alive */
}
