local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", nil, {["X-Request-Id"] = "request-" .. n, ["Content-Type"] = "application/json"}, '{"instances": [[5.1, 3.5, 1.4, 0.2]]}')
end
