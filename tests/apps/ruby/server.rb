require "bundler/setup"
require "greeting"
require "socket"

server = TCPServer.new("127.0.0.1", Integer(ENV.fetch("PORT")))
trap("TERM") { exit }
loop do
  client = server.accept
  Thread.new(client) do |socket|
    while (line = socket.gets) && !line.strip.empty?; end
    body = "#{Greeting.to("Ruby")}, version one\n"
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}")
  ensure
    socket.close
  end
end
