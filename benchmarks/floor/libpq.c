/* libpq, blocking: the comparison for the blocking API.
 *
 *     libpq CONNINFO sequential OPERATIONS      with FLOOR_SQL in the environment
 *
 * One prepared statement, binary parameter and result, PQexecPrepared, every value read. */
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

int main(int count, char **words) {
    const char *sql = getenv("FLOOR_SQL");
    if (count != 4 || !sql || strcmp(words[2], "sequential") != 0) die("usage", "libpq CONNINFO sequential OPERATIONS");
    PGconn *db = PQconnectdb(words[1]);
    if (PQstatus(db) != CONNECTION_OK) die("libpq", PQerrorMessage(db));
    int parameters = strstr(sql, "$1") != NULL;
    static const Oid types[] = {23};
    PGresult *prepared = PQprepare(db, "s", sql, parameters, types);
    if (PQresultStatus(prepared) != PGRES_COMMAND_OK) die("libpq", PQerrorMessage(db));
    PQclear(prepared);
    run(db, parameters, WARM_UP);
    Clock start = clock_now();
    run(db, parameters, atol(words[3]));
    print_result(start, atol(words[3]));
    PQfinish(db);
    return touched < 0 && touched == 1; /* keeps the reads alive */
}
