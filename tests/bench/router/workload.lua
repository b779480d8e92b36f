-- wrk's side of a load: hosts=N asks for N hosts at random, upload=BYTES posts bodies; prints what happened as JSON.
local options = { hosts = 1, upload = 0 }
local requests = {}
local number = 0

function setup(thread)
  number = number + 1
  thread:set("number", number)
end

function init(args)
  for _, arg in ipairs(args) do
    local key, value = arg:match("^(%w+)=(%d+)$")
    if key then options[key] = tonumber(value) end
  end
  if options.upload > 0 then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.body = string.rep("0123456789abcdef", options.upload / 16)
  end
  if options.hosts > 1 then
    math.randomseed(number * 7919)
    for n = 1, options.hosts do
      wrk.headers["Host"] = "app" .. (n - 1) .. ".test"
      requests[n] = wrk.format()
    end
  else
    requests[1] = wrk.format()
  end
end

function request()
  if options.hosts == 1 then return requests[1] end
  return requests[math.random(options.hosts)]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"us":%d,"bytes":%d,"errors":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
