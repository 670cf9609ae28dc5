-- The request that wrk sends: the call of workload.py.
wrk.method = "POST"
wrk.body = '{"a":1.5,"b":2.5}'
wrk.headers["Content-Type"] = "application/json"
