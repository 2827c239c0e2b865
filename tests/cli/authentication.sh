# What the clients of docs/authentication.md do with answers that the page does not make.

#= JavaScript
api-keys create slow --org default --scope api-keys.keys:read-own --limit requests=1/1s --out slow.key
python3 $TESTS/clients/answers.py answers.port &
until [ -s answers.port ]; do sleep 0.1; done
python3 $TESTS/clients/check.py $(cat answers.port) http://127.0.0.1:8080/api/v1/auth

#= Browsers
node $TESTS/clients/check.mjs $(cat answers.port) http://127.0.0.1:8080/api/v1/auth
