module Greeting
  def self.to(name)
    "Hello from #{name}"
  end
end
