# Plain sockets: a thread for each connection, on the inherited listening socket.
require 'json'
require 'socket'

server = TCPServer.for_fd(3)
stop, stopped = IO.pipe
trap('TERM') { stopped.close }

def serve(connection)
  request = connection.gets
  nil until [nil, "\r\n"].include?(connection.gets)
  connection.write "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
  if request&.include?('/held')
    connection.write "begun\n"
    connection.read(128 * 1024)
    connection.write "ended #{Process.pid}"
  else
    connection.write JSON.generate(pid: Process.pid)
  end
ensure
  connection.close
end

threads = []
loop do
  ready, = IO.select([server, stop])
  break if ready.include?(stop)

  connection = server.accept_nonblock(exception: false)
  next if connection == :wait_readable # another worker was faster

  threads.select!(&:alive?)
  threads << Thread.new { serve(connection) }
end
threads.each(&:join)
