# The program of the Puma sides.
HEADERS = { 'Content-Type' => 'text/plain', 'Content-Length' => '12', 'X-Worker' => Process.pid.to_s }.freeze
BODY = ["hello world\n"].freeze

# Who serves, one line each, as in app.js.
File.write(ENV['ROSTER'], "#{Process.pid}\n", mode: 'a') if ENV['ROSTER']

run(lambda do |env|
  # Blocks the whole process, as a program does that parses something large.
  if env['PATH_INFO'] == '/block'
    ends = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 0.05
    nil while Process.clock_gettime(Process::CLOCK_MONOTONIC) < ends
  end
  [200, HEADERS, BODY]
end)
