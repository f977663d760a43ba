<?php // Binds the port itself, with SO_REUSEPORT, so that several workers can.
$context = stream_context_create(['socket' => ['so_reuseport' => true]]);
$flags = STREAM_SERVER_BIND | STREAM_SERVER_LISTEN;
$server = stream_socket_server('tcp://127.0.0.1:' . getenv('PORT'), $errno, $error, $flags, $context);
if (!$server) exit("$error\n");
pcntl_async_signals(true);
pcntl_signal(SIGTERM, fn () => exit(0));
while (true) {
    $connection = @stream_socket_accept($server, 1);
    if (!$connection) continue;
    fread($connection, 4096);
    $body = json_encode(['pid' => getmypid()]);
    fwrite($connection, "HTTP/1.1 200 OK\r\nContent-Length: " . strlen($body) . "\r\nConnection: close\r\n\r\n$body");
    fclose($connection);
}
