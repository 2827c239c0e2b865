# What makes the symptoms of docs/troubleshooting.md: each part is run before the section that it names.

#= A key that should work gets 401
umask 077
api-keys init --seed --out operator.key
api-keys create export --org default --out export.key
api-keys revoke $(cut -d_ -f3 export.key | cut -c1-12) --reason "laptop lost" --yes
api-keys create copied --org default --out copied.key
printf '"%s"' "$(cat copied.key)" > quoted.key
printf 'Bearer %s' "$(cat copied.key)" > with-scheme.key
sed 's/.\{20\}/&\n/' copied.key > wrapped.key
api-keys init --database sqlite:staging.db --out of-staging.key

#= 401, "the request has none", though the client sends one
api-keys serve 2> serve.log &
server=$!
ready() { until curl -sf -o /dev/null http://127.0.0.1:8080/readyz; do sleep 0.1; done; }
ready
header() { printf 'x-api-key: %s' "$(cat $1.key)" > $1.header; }
rm export.key
api-keys create export --org default --scope api-keys.keys:read-own --out export.key
header export

#= A valid key gets 403
api-keys create elsewhere --org default --scope api-keys.keys:read-own --network 192.0.2.0/24 --out elsewhere.key
header elsewhere

#= 429, although the client is slow
api-keys create busy --org default --scope api-keys.keys:read-own --limit requests=1/1d --out busy.key
header busy
curl -sf -o /dev/null -H @busy.header http://127.0.0.1:8080/api/v1/auth/keys

#= 503
api-keys create new --org default --scope api-keys.keys:read-own --out new.key
header new
mkdir away
mv api-keys.db* away
while curl -sf -o /dev/null http://127.0.0.1:8080/readyz; do sleep 0.1; done

#= `database is locked`
mv away/* .
ready
python3 -c 'import sqlite3, time
database = sqlite3.connect("api-keys.db", isolation_level=None)
database.execute("BEGIN IMMEDIATE")
open("locked", "w").close()
time.sleep(600)' &
writer=$!
until [ -e locked ]; do sleep 0.1; done

#= There is no database
kill $writer $server
wait $writer $server || true
python3 -c 'import sqlite3; sqlite3.connect("others.db").execute("CREATE TABLE others (a INTEGER)")'

#= "is sealed under root key"
python3 -c 'import secrets; print(secrets.token_hex(32))' > other.root-key
api-keys create customer --org default --out customer.key
api-keys backup copy.db
{ python3 -c 'import secrets; print(secrets.token_hex(32))'; cat api-keys.db.root-key; } > copy.root-key

#= "needs a newer version"
api-keys backup newer.db
python3 -c 'import sqlite3
database = sqlite3.connect("newer.db")
database.execute("UPDATE api_keys_schema_migrations SET min_program = 1000")
database.commit()'

#= The key was not shown, or is lost
api-keys create lost --org default --out lost.key --json | grep -o '"id":"[^"]*' | head -1 | cut -d'"' -f4 > id

#= "cannot be listened on"
api-keys serve 2> serve.log &
ready

#= A revoked key still works
api-keys backup backup.db

#= A setting has no effect
printf '[databse]\n' > wrong.toml
