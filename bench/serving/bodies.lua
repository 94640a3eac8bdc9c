-- A body of 4 MB: wrk -s bodies.lua URL -- FILE jpeg|multipart|tensor
init = function(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local content = file:read("*a")
  file:close()
  local kind = arguments[2]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "image/jpeg"
  wrk.body = content
  if kind == "multipart" then
    local boundary = "------------------------d74496d66958873e" -- as curl makes them
    wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. boundary
    wrk.body = "--" .. boundary .. '\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n'
      .. "Content-Type: image/jpeg\r\n\r\n" .. content .. "\r\n--" .. boundary .. "--\r\n"
  elseif kind == "tensor" then
    local tensor = '{"inputs":[{"name":"x","datatype":"FP32","shape":[%d],"parameters":{"binary_data_size":%d}}]}'
    local head = tensor:format(#content / 4, #content)
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.headers["Inference-Header-Content-Length"] = tostring(#head)
    wrk.body = head .. content
  end
end
