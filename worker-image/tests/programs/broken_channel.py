# Speaks nonsense on Node's channel.
import os, socket, time
channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
channel.sendall(b'{"cmd":"NODE_CLUSTER","act":"online","seq":0}\n')
channel.sendall(b'{"cmd":"NODE_CLUSTER","act":"queryServer","port":"\xff\n')
assert channel.recv(100) == b"", "the primary closes the channel"
print("closed", flush=True)
time.sleep(60)
