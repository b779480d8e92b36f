require "bundler/setup"
require "sinatra"

set :environment, :production

get "/" do
  content_type "text/plain"
  "Hello from Sinatra, version one\n"
end

run Sinatra::Application
