# Puma with its own workers (WORKERS=n), or one of them alone; one request at a time each.
bind "tcp://127.0.0.1:#{ENV.fetch('PORT')}?backlog=4096"
environment 'production'
threads 1, 1
workers Integer(ENV.fetch('WORKERS', '0'))
rackup File.join(__dir__, 'config.ru')
